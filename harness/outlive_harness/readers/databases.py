"""The reader of SQLite databases: what a program sees that opens it, after the journal was played back."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from outlive_harness.results.reader_names import JOURNALS

from .kinds import Absent, ReadError, Table, Tables


def sqlite(path: Path, left_out: Sequence[str]) -> Any:  # noqa: ANN401 - tables, or nothing
    """Return the tables of a database with their rows, and its views, indexes and triggers.

    The database is copied, with its journal or write-ahead log, and the copy is opened: what was not
    committed is rolled back there. Not part of the value are the order of rows, pages, change counters, and
    SQLite's own tables. A database without tables is absent: opening it shows the same as no file.

    Raises:
        ReadError: SQLite calls it malformed.
    """
    with tempfile.TemporaryDirectory(prefix="outlive-read-") as place:
        copy = Path(place, "database")
        shutil.copyfile(path, copy)
        for end in JOURNALS:  # https://www.sqlite.org/tempfiles.html (2.1 and 2.2)
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{end}", f"{copy}{end}")
        try:
            with contextlib.closing(sqlite3.connect(copy)) as database:
                database.text_factory = _text
                return _contents(database, left_out)
        except sqlite3.Error as error:
            raise ReadError(f"SQLite says: {error}") from error


def _contents(database: sqlite3.Connection, left_out: Sequence[str]) -> Any:  # noqa: ANN401
    problem = database.execute("PRAGMA quick_check(1)").fetchone()
    if problem != ("ok",):
        raise ReadError(f"SQLite says: {problem[0] if problem else 'nothing'}")
    found = Tables()
    schema = database.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    ).fetchall()
    for kind, name, _, sql in schema:
        if kind == "table":
            found[name] = _table(database, name, sql, left_out)
    others = {f"{kind} {name}": sql for kind, name, _, sql in schema if kind != "table"}
    if not found and not others:
        return Absent()
    if others:
        found["(schema)"] = Table(["what", "sql"], (), sorted(others.items()))
    return found


def _table(database: sqlite3.Connection, name: str, sql: str, left_out: Sequence[str]) -> Table:
    quoted = name.replace('"', '""')
    cursor = database.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608 - quoted above
    columns = [one[0] for one in cursor.description]
    rows = cursor.fetchall()
    table = Table(columns, (), rows, has_order=False).without(left_out, name)
    table.facts["declaration"] = sql
    return table


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")
