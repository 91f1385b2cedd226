"""Files that a database maps into memory and makes anew when it opens: no crash state depends on them.

They are recognised by their names, and only beside the database itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from outlive_harness.readers.formats import FORMATS


class _Kind(NamedTuple):
    """A file that is made anew: its name, its database's name, and the mark by which that is recognised."""

    name: re.Pattern[str]
    database: str
    start: int
    mark: bytes
    what: str


#: Sources: https://www.sqlite.org/walformat.html (2.2) and fileformat2.html (1.3); LMDB's lmdb.h (lock files)
#: and mdb.c (MDB_MAGIC, behind the header of the first page).
_KINDS = (
    _Kind(re.compile("(.+)-shm"), r"\1", 0, FORMATS["sqlite"].starts, "SQLite's index of its log"),
    _Kind(re.compile("lock[.]mdb"), "data.mdb", 16, b"\xde\xc0\xef\xbe", "LMDB's table of readers"),
    _Kind(re.compile("(.+)-lock"), r"\1", 16, b"\xde\xc0\xef\xbe", "LMDB's table of readers"),
)


def made_anew(box: Path, paths: Iterable[str]) -> dict[str, str]:
    """Return those of a box's paths that a database beside them makes anew, each with a description."""
    return {path: what for path in paths if path and (what := _what(box / path))}


def _what(path: Path) -> str:
    for kind in _KINDS:
        match = kind.name.fullmatch(path.name)
        if match is not None and _has(path.with_name(match.expand(kind.database)), kind):
            return kind.what
    return ""


def _has(path: Path, kind: _Kind) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(kind.start)
            return file.read(len(kind.mark)) == kind.mark
    except OSError:
        return False


def exactly(paths: Iterable[str]) -> tuple[str, ...]:
    """Return patterns that match exactly these paths."""
    return tuple(re.sub(r"([*?\[])", r"[\1]", path) for path in paths)
