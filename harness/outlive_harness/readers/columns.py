"""Readers of columnar files and arrays: Parquet, Arrow, NumPy."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .kinds import Absent, Members, ReadError, Table
from .view import of_arrow


def parquet(path: Path, left_out: Sequence[str]) -> Any:  # noqa: ANN401 - a table, or nothing
    """Return the table of a Parquet file, or of a directory of them as one. Its partitions are columns.

    The names of the files in a directory, and the order of rows between them, are not part of the value. A
    directory without Parquet files is absent. Needs pyarrow.

    Raises:
        ReadError: a file is cut short, or the schemas of the files differ.
    """
    import pyarrow as pa  # noqa: PLC0415 - not everybody has it
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        if not path.is_dir():
            return _table(pq.ParquetFile(path).read(use_threads=False), left_out)
        files = list(_visible(path, ".parquet", ".parq", ".pq"))
        if not files:
            return Absent()
        parts = [_part(pq.ParquetFile(one).read(use_threads=False), one, path) for one in files]
        return _joined(parts, left_out)
    except (pa.ArrowException, OSError) as error:
        raise ReadError(f"it is not whole Parquet: {error}".splitlines()[0]) from error


def arrow(path: Path, left_out: Sequence[str]) -> Any:  # noqa: ANN401
    """Return the table of an Arrow or Feather file or stream, or of a directory of them. Needs pyarrow."""
    import pyarrow as pa  # noqa: PLC0415 - not everybody has it

    def read(one: Path) -> Any:  # noqa: ANN401
        with pa.OSFile(str(one)) as file:
            if file.read(6) == b"ARROW1":
                file.seek(0)
                return pa.ipc.open_file(file).read_all()
            file.seek(0)
            return pa.ipc.open_stream(file).read_all()

    try:
        if not path.is_dir():
            return _table(read(path), left_out)
        files = list(_visible(path, ".arrow", ".feather", ".ipc"))
        return _joined([_part(read(one), one, path) for one in files], left_out) if files else Absent()
    except (pa.ArrowException, OSError) as error:
        raise ReadError(f"it is not a whole Arrow file: {error}".splitlines()[0]) from error


def _visible(directory: Path, *ends: str) -> Iterator[Path]:
    """Yield the data files below a directory; names that begin with ``_`` or ``.`` are not read as data."""
    for path in sorted(directory.rglob("*")):
        parts = path.relative_to(directory).parts
        if path.suffix in ends and path.is_file() and not any(part[0] in "_." for part in parts):
            yield path


def _part(table: Any, file: Path, top: Path) -> Any:  # noqa: ANN401
    """Return the table of one file, with a column for each directory that is named as ``year=2026``."""
    import pyarrow as pa  # noqa: PLC0415

    for part in file.relative_to(top).parts[:-1]:
        name, equals, value = part.partition("=")
        if equals and name not in table.column_names:
            table = table.append_column(name, pa.array([value] * len(table), pa.string()))
    return table


def _joined(parts: Sequence[Any], left_out: Sequence[str]) -> Table:
    tables = [_table(one, left_out) for one in parts]
    first = tables[0]
    for one in tables[1:]:
        if (one.columns, one.types) != (first.columns, first.types):
            raise ReadError(f"its files differ in their columns: {first.columns} and {one.columns}")
    rows = [row for one in tables for row in one.rows]
    return Table(first.columns, first.types, rows, has_order=False)


def _table(table: Any, left_out: Sequence[str]) -> Table:  # noqa: ANN401
    return of_arrow(table).without(left_out)


def npy(path: Path, _left_out: Sequence[str]) -> Any:  # noqa: ANN401 - an array, or members
    """Return the array of an npy file, or the arrays of an npz file by name. Needs numpy."""
    import numpy as np  # noqa: PLC0415 - not everybody has it

    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            return Members({name: loaded[name] for name in loaded.files})
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ReadError(f"it is not a whole npy or npz file: {error}") from error
