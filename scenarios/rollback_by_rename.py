"""A rollback that restores and drops its backup in one rename can itself be killed at any moment."""

from pathlib import Path

from outlive import atomic_write
from outlive_harness import scenario

TOTAL, BACKUP, DONE = Path("total.txt"), Path("before.txt"), Path("added.txt")


def earlier_total() -> None:
    TOTAL.write_text("100")


@scenario(outputs="total.txt", setup=earlier_total, faults=("kill", "power"), depth=2)
def rollback_by_rename() -> None:
    if DONE.exists():
        return
    if BACKUP.exists():  # killed before it was done: take back what was added
        BACKUP.replace(TOTAL)
    TOTAL.rename(BACKUP)
    atomic_write(TOTAL, str(int(BACKUP.read_text()) + 25))
    BACKUP.rename(DONE)  # done, at once: the backup becomes the marker
