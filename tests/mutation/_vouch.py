"""A pipeline to which it matters what a marker vouches for: run as `_vouch.py DIRECTORY-OF-OUTLIVE`."""

import os
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from outlive import Checkpoints, atomic_write

MADE = ["work/plain", "work/parts"]


def drop(name: str) -> None:
    """Takes away what an output was made from: from here on it must not be lost."""
    Path("inbox", name).unlink(missing_ok=True)
    inbox = os.open("inbox", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(inbox)
    os.close(inbox)


def forget() -> None:
    """All marks that were taken back stay away, those of items too, once anything else has lasted."""
    old = Checkpoints(".cards", run_id="yesterday")
    if not Path("out/flag").exists():
        old.mark_done("cards")
        old.items("cards", ["postcard"]).done("postcard")
        old.clear()
        atomic_write("out/flag", "")
    if old.step_done("cards") or list(old.records()):
        sys.exit("a mark came back that had been cleared")


forget()
run = Checkpoints()
if not run.step_done("make", outputs=MADE):
    text = Path("inbox/letter").read_text()
    Path("work/plain").write_text(text)  # as it comes: to bring it to the disk is for the marker
    Path("work/parts").mkdir(exist_ok=True)
    Path("work/parts/one").write_text(text)
    run.mark_done("make", outputs=MADE)
drop("letter")
items = Checkpoints(".cards", run_id="today").items("cards", ["postcard"])
for card in list(items):  # as a pool that prefetches
    with items.doing(card):
        atomic_write("out/note", Path("inbox", card).read_text())
drop("postcard")
if not run.step_done("join"):
    atomic_write("out/joined", Path("work/plain").read_text() + Path("work/parts/one").read_text())
    run.mark_done("join")
if Path("out/joined").read_text() != "a letter\n" * 2 or Path("out/note").read_text() != "a postcard\n":
    sys.exit("not all that was made is there")
