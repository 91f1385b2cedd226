"""The reader of SQLite: what a program sees that opens the database now."""

import contextlib
import shutil
import sqlite3

import pytest

from outlive_harness.readers.databases import sqlite
from outlive_harness.readers.kinds import Absent, ReadError
from outlive_harness.readers.values import digest
from outlive_harness.readers.view import View


def made(path, rows, *, first=()):
    """Make a database whose rows were inserted in some order; return its path."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE t(id INTEGER, price REAL)")
        database.execute("CREATE INDEX by_id ON t(id)")
        database.executemany("INSERT INTO t VALUES (?, 1.5)", [(row,) for row in (*first, *rows)])
        database.execute("DELETE FROM t WHERE id < 0")
    return path


def value(path):
    """Return the digest of a database's value."""
    return digest(View().of(sqlite(path, ())))


def test_a_database_is_its_schema_and_rows(tmp_path):
    """Neither the order of rows, nor deleted ones, nor counters of changes are part of the value."""
    one, other = made(tmp_path / "a", [1, 2]), made(tmp_path / "b", [2, 1], first=[-1])
    assert one.read_bytes() != other.read_bytes()
    assert value(one) == value(other)
    assert value(one) != value(made(tmp_path / "c", [1, 2, 2]))
    with contextlib.closing(sqlite3.connect(one)) as database:
        database.execute("DROP INDEX by_id")
    assert value(one) != value(other)


def contents(place):
    """Return the contents of a directory's files."""
    return {path.name: path.read_bytes() for path in place.iterdir()}


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_transaction_that_a_kill_cut_short_is_not_seen(tmp_path, mode):
    """With its journal beside it, a half-written database is what it was before, and is not changed."""
    path = made(tmp_path / "db", range(3000))
    before = value(path)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA journal_mode={mode}")
        database.execute("PRAGMA cache_size=5")  # so that pages reach the file before the commit
        database.execute("UPDATE t SET price = 2")
        place = tmp_path / "crashed"
        place.mkdir()
        for path in tmp_path.glob("db*"):
            shutil.copy(path, place)
        files = contents(place)
        assert len(files) > 1
        assert value(place / "db") == before
        assert contents(place) == files
        database.commit()
    assert value(tmp_path / "db") != before


def test_a_database_without_tables_is_absent(tmp_path):
    """The empty file that connect() makes shows no more than no file."""
    (tmp_path / "db").touch()
    assert isinstance(sqlite(tmp_path / "db", ()), Absent)


def test_a_damaged_database_is_refused(tmp_path):
    """A torn page is found by SQLite's own check, which the message quotes."""
    path = made(tmp_path / "db", range(3000))
    content = bytearray(path.read_bytes())
    content[8192:12288] = bytes(4096)
    path.write_bytes(content)
    with pytest.raises(ReadError, match="SQLite says"):
        sqlite(path, ())


def test_columns_are_left_out_of_one_table_or_of_all(tmp_path):
    """``price`` leaves out a column wherever it is, ``t.price`` that of one table."""
    path = made(tmp_path / "db", [1])
    for name in ("price", "t.price"):
        assert sqlite(path, (name,))["t"].columns == ["id"]
