"""The built-in readers, by name, and how they are chained."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from outlive_harness.results.reader_names import Step

from . import archives, columns, databases, texts


class Reader(NamedTuple):
    """A reader.

    Attributes:
        read: takes a path and the keys that are left out, and returns a value.
        needs: the library that it imports; "" for Python's own.
    """

    read: Callable[[Path, Sequence[str]], Any]
    needs: str = ""


READER = {
    "sqlite": Reader(databases.sqlite),
    "xlsx": Reader(archives.xlsx),
    "npy": Reader(columns.npy, "numpy"),
    "zip": Reader(archives.zip_members),
    "tar": Reader(archives.tar),
    "gzip": Reader(archives.gzip),
    "parquet": Reader(columns.parquet, "pyarrow"),
    "arrow": Reader(columns.arrow, "pyarrow"),
    "json": Reader(texts.json),
    "yaml": Reader(texts.yaml, "yaml"),
    "csv": Reader(texts.csv),
    "text": Reader(texts.text),
    "bytes": Reader(texts.raw),
}
#: What pip calls a library.
PIP = {"yaml": "pyyaml"}


def read_by(steps: Sequence[Step], path: Path) -> Any:  # noqa: ANN401 - any value
    """Return the value that a chain of readers gives.

    Raises:
        ReadError: what is there is not whole.
    """
    first, *rest = steps
    value = READER[first.name].read(path, first.left_out)
    if not rest:
        return value
    with tempfile.TemporaryDirectory(prefix="outlive-read-") as place:
        inner = Path(place, path.name.removesuffix(".gz") or "content")
        inner.write_bytes(value)
        return read_by(rest, inner)
