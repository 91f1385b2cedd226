"""How files of a format are recognised, as plain facts: no reader is imported to look at them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Format(NamedTuple):
    """How files that a reader takes are recognised.

    Attributes:
        starts: the bytes that such a file begins with; empty if that says nothing.
        ends: the ends of names that such files have.
        has_time: whether such a file holds the time, in whole seconds, at which it was made.
    """

    starts: bytes = b""
    ends: tuple[str, ...] = ()
    has_time: bool = False


#: By reader, in the order in which they are proposed for a file that differs from run to run.
FORMATS = {
    "sqlite": Format(b"SQLite format 3\0"),
    "xlsx": Format(b"PK\x03\x04", (".xlsx", ".xlsm"), has_time=True),
    "npy": Format(ends=(".npy", ".npz")),
    "zip": Format(b"PK\x03\x04", has_time=True),
    "tar": Format(ends=(".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz"), has_time=True),
    "gzip": Format(b"\x1f\x8b", has_time=True),
    "parquet": Format(b"PAR1"),
    "arrow": Format(b"ARROW1", (".arrow", ".feather")),
    "json": Format(ends=(".json", ".jsonl", ".ndjson", ".geojson", ".ipynb")),
    "yaml": Format(ends=(".yaml", ".yml")),
    "csv": Format(ends=(".csv", ".tsv")),
}
#: How many bytes of a file show its format.
_START = 64


def start_of(path: str | Path) -> bytes:
    """Return the first bytes of a file, enough to show its format.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return file.read(_START)


def likely(name: str, start: bytes) -> list[str]:
    """Return the readers that may fit a file, the best one first.

    Args:
        name: its name.
        start: its first bytes.
    """
    return [
        reader
        for reader, one in FORMATS.items()
        if start.startswith(one.starts) and (not one.ends or name.endswith(one.ends))
    ]


def has_time(path: Path) -> bool:
    """Return whether a file is of a format that holds the time, in whole seconds, at which it was made."""
    return any(FORMATS[reader].has_time for reader in likely(path.name, start_of(path)))


def is_database(path: str | Path) -> bool:
    """Return whether a file is a database of SQLite."""
    try:
        return start_of(path).startswith(FORMATS["sqlite"].starts)
    except OSError:
        return False
