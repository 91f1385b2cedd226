"""With `synchronous=EXTRA` a commit of SQLite lasts: the directory is synced after the journal is removed."""

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


@scenario(setup=inbox, check=promises_are_kept, faults=("kill", "power"))
def sqlite_synchronous_extra() -> None:
    with closing(sqlite3.connect("orders.db")) as db:
        db.execute("PRAGMA synchronous=EXTRA")
        for order in Path("inbox").iterdir():
            with db:
                db.execute("INSERT OR IGNORE INTO placed VALUES (?)", (int(order.name),))
            ack(order.name)
            order.unlink()  # who was told so forgets it
