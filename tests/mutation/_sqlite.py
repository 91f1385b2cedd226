"""Marks in an SQLite file decide what may be dropped: run as `_sqlite.py DIRECTORY-OF-OUTLIVE`."""

import os
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from outlive import Checkpoints, atomic_write


def drop(name: str) -> None:
    """Takes away what an output was made from: from here on it must not be lost."""
    Path("inbox", name).unlink(missing_ok=True)
    inbox = os.open("inbox", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(inbox)
    os.close(inbox)


def copy(name: str) -> None:
    if not run.step_done(name):
        Path("work", name).write_text(Path("inbox", name).read_text())  # brought to the disk by its mark
        run.mark_done(name, outputs=f"work/{name}")


run = Checkpoints(store="sqlite")
with run.group():
    copy("postcard")
    run.mark_done("group")
    if run.step_done("group"):  # nothing that is held back is believed
        drop("postcard")
    run.mark_done("end")
if not {"group", "end"} <= set(Checkpoints(store="sqlite").done()):
    sys.exit("a group has ended, and what was in it is not in the file")
atomic_write("out/postcard", Path("work/postcard").read_text())
copy("letter")
drop("letter")
atomic_write("out/letter", Path("work/letter").read_text())
if Path("out/postcard").read_text() != "a postcard\n" or Path("out/letter").read_text() != "a letter\n":
    sys.exit("not all that was made is there")
