"""An order that is acknowledged before it is on the disk is lost in a power cut: nobody sends it again."""

from pathlib import Path

from outlive import atomic_write
from outlive_harness import ack, scenario


def inbox() -> None:
    Path("ledger").mkdir()
    Path("inbox").mkdir()
    Path("inbox/4711").write_text("7 apples")


def promises_are_kept(acks: list[str]) -> None:
    ledger = {entry.name: entry.read_text() for entry in Path("ledger").iterdir()}
    assert all(ledger.get(number) == "7 apples" for number in acks)


@scenario(setup=inbox, check=promises_are_kept, faults="power", expect="lost-ack")
def acknowledged_before_fsync() -> None:
    for order in Path("inbox").iterdir():
        atomic_write(Path("ledger", order.name), order.read_text(), durable="none")  # no fsync
        ack(order.name)
        order.unlink()  # who was told so forgets it
