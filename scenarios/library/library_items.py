"""Items that are marked one by one are each done, and none is counted that a crash took back."""

from pathlib import Path

from outlive import Checkpoints, atomic_write
from outlive_harness import scenario


def letters() -> None:
    Path("inbox").mkdir()
    for name in ("a", "b", "c"):
        Path("inbox", name).write_text(f"letter {name}\n")
    Path("out").mkdir()


@scenario(
    outputs="out/*", setup=letters, faults=("kill", "torn", "full", "eio", "term", "power"), torn="bytes"
)
def library_items() -> None:
    run = Checkpoints()
    before = ""
    for name in run.todo("copy", ["a", "b", "c"]):
        if before:  # this one was asked for, so that one is done, and its input need not be there any more
            Path("inbox", before).unlink()
        atomic_write(f"out/{name}", Path("inbox", name).read_text())
        before = name
    run.mark_done("copy")
