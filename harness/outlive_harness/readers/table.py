"""The built-in readers, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import archives, columns, databases, texts


class Reader(NamedTuple):
    """A reader.

    Attributes:
        read: takes a path and the keys that are left out, and returns a value.
        needs: the library that it imports; "" for Python's own.
        starts: the bytes that a file of this format begins with; empty if that says nothing.
        ends: the ends of names that such files have.
        has_time: whether such a file holds the time at which it was made.
    """

    read: Callable[[Path, Sequence[str]], Any]
    needs: str = ""
    starts: bytes = b""
    ends: tuple[str, ...] = ()
    has_time: bool = False


#: In the order in which they are proposed for a file that differs from run to run.
READER = {
    "sqlite": Reader(databases.sqlite, starts=b"SQLite format 3\0"),
    "xlsx": Reader(archives.xlsx, starts=b"PK\x03\x04", ends=(".xlsx", ".xlsm"), has_time=True),
    "npy": Reader(columns.npy, "numpy", ends=(".npy", ".npz")),
    "zip": Reader(archives.zip_members, starts=b"PK\x03\x04", has_time=True),
    "tar": Reader(archives.tar, ends=(".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz"), has_time=True),
    "gzip": Reader(archives.gzip, starts=b"\x1f\x8b", has_time=True),
    "parquet": Reader(columns.parquet, "pyarrow", starts=b"PAR1"),
    "arrow": Reader(columns.arrow, "pyarrow", starts=b"ARROW1", ends=(".arrow", ".feather")),
    "json": Reader(texts.json, ends=(".json", ".jsonl", ".ndjson", ".geojson", ".ipynb")),
    "yaml": Reader(texts.yaml, "yaml", ends=(".yaml", ".yml")),
    "csv": Reader(texts.csv, ends=(".csv", ".tsv")),
    "text": Reader(texts.text),
    "bytes": Reader(texts.raw),
}
#: How many bytes of a file show its format.
_START = 64
#: What pip calls a library.
PIP = {"yaml": "pyyaml"}


def likely(name: str, start: bytes) -> list[str]:
    """Return the readers that may fit a file, the best one first.

    Args:
        name: its name.
        start: its first bytes.
    """
    found = []
    for reader, one in READER.items():
        has_end = any(name.endswith(end) for end in one.ends)
        if one.starts and not start.startswith(one.starts):
            continue
        if (has_end or not one.ends) and (one.starts or one.ends):
            found.append(reader)
    return found


def has_time(path: Path) -> bool:
    """Return whether a file is of a format that holds the time, in whole seconds, at which it was made."""
    with path.open("rb") as file:
        start = file.read(_START)
    return any(READER[name].has_time for name in likely(path.name, start))
