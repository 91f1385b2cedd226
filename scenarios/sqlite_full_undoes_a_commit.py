"""With `synchronous=FULL` a power cut can undo SQLite's last commit, and with it what was acknowledged."""

import sqlite3
from contextlib import closing
from pathlib import Path

from outlive_harness import ack, scenario


def inbox() -> None:
    Path("inbox").mkdir()
    Path("inbox/4711").touch()
    with closing(sqlite3.connect("orders.db")) as db:
        db.execute("CREATE TABLE placed (number INTEGER PRIMARY KEY)")


def promises_are_kept(acks: list[str]) -> None:
    with closing(sqlite3.connect("orders.db")) as db:
        placed = {str(number) for (number,) in db.execute("SELECT number FROM placed")}
    assert placed >= set(acks)


# The journal that was removed comes back, and SQLite rolls back by it. EXTRA would sync its directory.
@scenario(setup=inbox, check=promises_are_kept, faults="power", expect="lost-ack")
def sqlite_full_undoes_a_commit() -> None:
    with closing(sqlite3.connect("orders.db")) as db:
        db.execute("PRAGMA synchronous=FULL")
        for order in Path("inbox").iterdir():
            with db:
                db.execute("INSERT OR IGNORE INTO placed VALUES (?)", (int(order.name),))
            ack(order.name)
            order.unlink()  # who was told so forgets it
