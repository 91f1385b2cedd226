"""With `synchronous=OFF` SQLite syncs nothing, and a power cut can leave a database that cannot be read."""

import sqlite3
from contextlib import closing

from outlive_harness import scenario

EVENTS = [(number, f"event {number}") for number in range(1, 11)]


def first_event() -> None:
    with closing(sqlite3.connect("events.db")) as db, db:
        db.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        db.execute("INSERT INTO event VALUES (?, ?)", EVENTS[0])


def rows() -> list[tuple[int, str]]:
    with closing(sqlite3.connect("events.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return db.execute("SELECT id, name FROM event ORDER BY id").fetchall()


# Even on the disk that promises most.
@scenario(setup=first_event, check=rows, faults="power", profile="ext4-ordered", expect="recovery-failed")
def sqlite_synchronous_off() -> None:
    with closing(sqlite3.connect("events.db")) as db:
        db.execute("PRAGMA synchronous=OFF")
        with db:  # one transaction
            db.executemany("INSERT OR IGNORE INTO event VALUES (?, ?)", EVENTS)
