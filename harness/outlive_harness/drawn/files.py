"""Drawn files: what a test says that the box holds, as bytes, and laid out in a directory."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from outlive_harness.disk.copying import copy_tree
from outlive_harness.disk.removal import remove_tree
from outlive_harness.disk.tree import scan, tree_digest
from outlive_harness.results.scenario import ScenarioError
from outlive_harness.world.box import is_own

_END = "\r\n"


def contents_of(files: object) -> dict[str, bytes]:
    """Return the files that a test gives, by their paths in the box.

    Args:
        files: a mapping of relative paths. A text is written as UTF-8, and bytes as they are. For a path
            that ends with ``.csv``, a list of rows is written by the csv module: sequences as they are;
            mappings below a header that has the names of all. For ``.json``, any other value is written by
            the json module.

    Raises:
        ScenarioError: a path or a content cannot be written; the message begins with ``files=`` or the file.
    """
    if not isinstance(files, Mapping):
        raise ScenarioError(f"files={files!r} must be a mapping of paths in the box to contents")
    found: dict[str, bytes] = {}
    for key, value in files.items():
        path = _path(key)
        if path in found:
            raise ScenarioError(f"files[{key!r}] names a file of the box that another key names too")
        found[path] = _content(path, value)
    for path in found:
        above = next((other for other in found if path.startswith(f"{other}/")), None)
        if above is not None:
            raise ScenarioError(f"files[{above!r}] is a file, and {path!r} is to be in it")
    return found


def _path(key: object) -> str:
    plain = os.fspath(key) if isinstance(key, (str, os.PathLike)) else None
    parts = plain.split("/") if isinstance(plain, str) else []
    if not isinstance(plain, str) or not plain.isprintable() or {"", ".."} & set(parts) or is_own(parts[0]):
        raise ScenarioError(f"files[{key!r}] must be the path of a file relative to the box, as 'in/a.csv'")
    return os.path.normpath(plain)


def _content(path: str, value: object) -> bytes:
    name = f"files[{path!r}]={value!r}"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    try:
        if isinstance(value, str):
            return value.encode()
        if path.endswith(".json"):
            return json.dumps(value, allow_nan=False).encode()
        if path.endswith(".csv") and isinstance(value, Sequence):
            return _rows(name, value).encode()
    except ScenarioError:
        raise
    except (ValueError, TypeError, csv.Error) as error:
        raise ScenarioError(f"{name} cannot be written: {error}") from error
    raise ScenarioError(
        f"{name} must be a text or bytes; a list of rows goes into a file *.csv, and other values into *.json"
    )


def _rows(name: str, rows: Sequence[object]) -> str:
    keyed = [row for row in rows if isinstance(row, Mapping)]
    header = list(dict.fromkeys(key for row in keyed for key in row))
    lines = [_line(header)] if keyed else []
    for row in rows:
        if isinstance(row, Mapping):
            lines.append(_line([row.get(key, "") for key in header]))
        elif isinstance(row, Sequence) and not isinstance(row, (str, bytes)) and not keyed:
            lines.append(_line(row))
        else:
            raise ScenarioError(f"{name} must be a list of rows: all of them lists, or all of them dicts")
    return "".join(lines)


def _line(row: Sequence[object]) -> str:
    """Return a row as a line; a field with a character of any line end is quoted."""
    text = io.StringIO()
    csv.writer(text, lineterminator=_END).writerow(row)  # with another end, "\r" would not be quoted
    return text.getvalue().removesuffix(_END) + "\n"


def laid_out(where: Path, base: Path | None, contents: Mapping[str, bytes], *, most: int) -> Path:
    """Return a directory with files, and those of a base below them; it is made if it is not there yet.

    Args:
        where: the directory in which it is made, under a name that says what it holds.
        base: a directory of the user's whose files are there too; None for none.
        contents: the files, by path.
        most: how many such directories are kept there; those that were made first are removed.

    Raises:
        ScenarioError: the base is missing, or a file cannot be made.
    """
    try:
        place = where / _digest(base, contents)
        if place.is_dir():
            return place
        where.mkdir(exist_ok=True)
        earlier = sorted(where.iterdir(), key=lambda one: one.stat().st_mtime_ns)
        for one in earlier[: max(0, len(earlier) - most + 1)]:
            remove_tree(one)
        made = where / f".{place.name}"
        remove_tree(made)
        made.mkdir()
        if base is not None:
            copy_tree(base, made, skip=is_own, opens=False)
        for path, content in contents.items():
            file = made / path
            if not file.parent.resolve().is_relative_to(made.resolve()):
                raise ScenarioError(f"files[{path!r}] is behind a link that leads out of the input")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            file.write_bytes(content)
        made.rename(place)
    except OSError as error:
        raise ScenarioError(f"the files of the box cannot be made: {error}") from error
    return place


def _digest(base: Path | None, contents: Mapping[str, bytes]) -> str:
    """Return a short name for an input, by its content alone."""
    found = hashlib.blake2b(digest_size=4)
    if base is not None:
        found.update(tree_digest(scan(base, skip=is_own, opens=False)).encode())
    for path, content in sorted(contents.items()):
        found.update(f"{len(path.encode())} {path} {len(content)} ".encode() + content)
    return found.hexdigest()
