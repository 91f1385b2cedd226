"""A marker vouches for outputs that nothing else synced, and the files that they were made from may go."""

from pathlib import Path

from outlive import Checkpoints, atomic_write
from outlive_harness import scenario

MADE = ("work/rows", "work/parts")


def letter() -> None:
    Path("inbox").mkdir()
    Path("inbox/letter").write_text("a letter\n")
    Path("work").mkdir()


@scenario(
    outputs="report", setup=letter, faults=("kill", "torn", "full", "eio", "term", "power"), torn="bytes"
)
def library_vouching() -> None:
    run = Checkpoints()
    if not run.step_done("make", outputs=MADE, version="1"):
        text = Path("inbox/letter").read_text()
        Path("work/rows").write_text(text)  # no rename, no fsync: its marker sees to that
        Path("work/parts").mkdir(exist_ok=True)
        Path("work/parts/one").write_text(text)
        run.mark_done("make", outputs=MADE, version="1")
    Path("inbox/letter").unlink(missing_ok=True)  # what was made must not be lost from here on
    if not run.step_done("report", outputs="report"):
        atomic_write("report", Path("work/rows").read_text() + Path("work/parts/one").read_text())
        run.mark_done("report", outputs="report")
