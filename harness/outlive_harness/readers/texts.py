"""Readers of text: lines, CSV, JSON, YAML."""

from __future__ import annotations

import csv as csv_module
import io
import json as json_module
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .kinds import ReadError, Table, Text


def raw(path: Path, _left_out: Sequence[str]) -> bytes:
    """Return the bytes of a file."""
    return path.read_bytes()


def text(path: Path, _left_out: Sequence[str]) -> Text:
    """Return the lines of a file; bytes that are not UTF-8 count as they are."""
    return Text(path.read_bytes().decode("utf-8", "surrogateescape"))


def csv(path: Path, left_out: Sequence[str]) -> Table:
    """Return the rows below a header line; the delimiter is the first of ``, ; tab |`` that is in the header.

    Raises:
        ReadError: it is empty, a quote is open at its end, or a row is shorter or longer than the header.
    """
    content = _decoded(path)
    if not content:
        raise ReadError("it is empty: there is no header line")
    header = content.splitlines()[0]
    delimiter = next((one for one in ",;\t|" if one in header), ",")
    try:
        rows = list(csv_module.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True))
    except csv_module.Error as error:
        raise ReadError(f"it is not CSV: {error}") from error
    columns, rows = rows[0], [row for row in rows[1:] if row]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(columns):
            raise ReadError(f"row {number} has {len(row)} fields, and the header has {len(columns)}")
    if rows and not content.endswith(("\n", "\r")):
        rows[-1] = [*rows[-1][:-1], Unended(rows[-1][-1])]
    return Table(columns, (), rows).without(left_out)


class Unended(str):
    """The last field of a file that does not end with a line: it may have been cut."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{str(self)!r} (no newline behind it)"


def json(path: Path, left_out: Sequence[str]) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return the value of a JSON document, or a list of values if each line is one (JSON Lines)."""
    content = _decoded(path)
    try:
        value = json_module.loads(content, object_pairs_hook=_object)
    except json_module.JSONDecodeError as error:
        lines = content.splitlines()
        if len(lines) < 2 or error.lineno == 1:
            first = error.lineno == 1 and len(lines) > 1 and error.msg == "Extra data"
            if not first:
                raise ReadError(f"it is not JSON: {error}") from error
        if not content.endswith("\n"):
            raise ReadError(
                f"line {len(lines)} has no newline behind it, and the whole is not JSON"
            ) from error
        value = [_line(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    return without_keys(value, left_out)


def _line(number: int, line: str) -> Any:  # noqa: ANN401
    try:
        return json_module.loads(line, object_pairs_hook=_object)
    except json_module.JSONDecodeError as error:
        raise ReadError(f"it is neither JSON nor JSON Lines: line {number}: {error.msg}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ReadError(f"the key {double!r} stands twice in one object")
    return found


def yaml(path: Path, left_out: Sequence[str]) -> Any:  # noqa: ANN401
    """Return the value of a YAML document, or a list of them if there are several."""
    import yaml as library  # noqa: PLC0415 - not everybody has it

    try:
        several = list(library.safe_load_all(_decoded(path)))
    except library.YAMLError as error:
        raise ReadError(f"it is not YAML: {error}".replace("\n", " ")) from error
    return without_keys(several[0] if len(several) == 1 else several, left_out)


def _decoded(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReadError(f"it is not UTF-8 text: {error.reason} at byte {error.start}") from error


def without_keys(value: Any, left_out: Sequence[str]) -> Any:  # noqa: ANN401
    """Return a value without the keys that a name, or a dotted path to it, leaves out."""
    paths = [tuple(name.split(".")) for name in left_out]
    return _without(value, (), paths) if paths else value


def _without(value: Any, above: tuple[str, ...], paths: Sequence[tuple[str, ...]]) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        found = {}
        for key, one in value.items():
            here = (*above, str(key))
            if not any(here[-len(path) :] == path for path in paths):
                found[key] = _without(one, here, paths)
        return found
    if isinstance(value, list):
        return [_without(one, above, paths) for one in value]
    return value
