"""A row that is acknowledged before it is stored is gone after a crash in between."""

from pathlib import Path

from outlive import atomic_write
from outlive_harness import ack, scenario

TABLE, NEXT = Path("table.csv"), Path("next.txt")


@scenario(outputs="table.csv", expect=("lost-ack", "diverged"))
def acknowledged_too_early() -> None:
    first = int(NEXT.read_text()) if NEXT.exists() else 0
    for number in range(first, 3):
        atomic_write(NEXT, str(number + 1), durable="none")  # counted as taken ...
        ack(f"row {number}")  # ... promised ...
        rows = TABLE.read_text() if TABLE.exists() else ""
        atomic_write(TABLE, f"{rows}row {number}\n", durable="none")  # ... and only now stored
