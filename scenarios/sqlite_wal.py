"""In WAL mode with `synchronous=FULL` a commit of SQLite lasts: it is an append to the log and an fsync."""

import sqlite3
from contextlib import closing
from pathlib import Path

from outlive_harness import ack, scenario


def inbox() -> None:
    Path("inbox").mkdir()
    Path("inbox/4711").touch()
    with closing(sqlite3.connect("orders.db")) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE placed (number INTEGER PRIMARY KEY)")


def promises_are_kept(acks: list[str]) -> None:
    with closing(sqlite3.connect("orders.db")) as db:
        placed = {str(number) for (number,) in db.execute("SELECT number FROM placed")}
    assert placed >= set(acks)


# Stores through memory are unseen. Those in SQLite's index (-shm) are known to need no eye: it is made anew.
@scenario(setup=inbox, check=promises_are_kept, faults=("kill", "power"))
def sqlite_wal() -> None:
    with closing(sqlite3.connect("orders.db")) as db:
        db.execute("PRAGMA synchronous=FULL")
        for order in Path("inbox").iterdir():
            with db:
                db.execute("INSERT OR IGNORE INTO placed VALUES (?)", (int(order.name),))
            ack(order.name)
            order.unlink()  # who was told so forgets it
