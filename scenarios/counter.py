"""A run that adds to its own earlier result counts twice when it is run twice, with a crash or without."""

from pathlib import Path

from outlive import atomic_write
from outlive_harness import scenario


@scenario(outputs="total.txt", expect=("not-idempotent", "diverged"))
def counter() -> None:
    total = Path("total.txt")
    so_far = int(total.read_text()) if total.exists() else 0
    atomic_write(total, f"{so_far + 25}\n")
