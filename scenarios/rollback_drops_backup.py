"""A rollback that removes its backup first survives one crash, but not a second one during the rollback."""

from pathlib import Path

from outlive import atomic_write
from outlive_harness import scenario

TOTAL, BACKUP, DONE = Path("total.txt"), Path("before.txt"), Path("added.txt")


def earlier_total() -> None:
    TOTAL.write_text("100")


@scenario(outputs="total.txt", setup=earlier_total, depth=2, expect=("diverged", "recovery-failed"))
def rollback_drops_backup() -> None:
    if DONE.exists():
        return
    if BACKUP.exists():  # killed before it was done: take back what was added
        before = BACKUP.read_text()
        BACKUP.unlink()  # too early: now only this process knows the old total
        atomic_write(TOTAL, before, durable="none")
    TOTAL.rename(BACKUP)
    atomic_write(TOTAL, str(int(BACKUP.read_text()) + 25), durable="none")
    BACKUP.rename(DONE)
