"""Rows go into SQLite a transaction at a time, and a run resumes after the last key that is committed."""

import sqlite3
from contextlib import closing

from outlive_harness import scenario

READINGS = [(key, 20.0 + key % 7) for key in range(1, 61)]
BATCH = 20


def rows() -> list[tuple[int, float]]:
    """Return what the table says: the file's bytes may differ after a rollback, and mean the same."""
    with closing(sqlite3.connect("readings.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return db.execute("SELECT id, celsius FROM reading ORDER BY id").fetchall()


@scenario(check=rows)
def sqlite_resume() -> None:
    with closing(sqlite3.connect("readings.db")) as db:
        db.execute("CREATE TABLE IF NOT EXISTS reading (id INTEGER PRIMARY KEY, celsius REAL NOT NULL)")
        (last,) = db.execute("SELECT coalesce(max(id), 0) FROM reading").fetchone()
        todo = [reading for reading in READINGS if reading[0] > last]
        for start in range(0, len(todo), BATCH):
            with db:  # one transaction
                db.executemany("INSERT INTO reading VALUES (?, ?)", todo[start : start + BATCH])
