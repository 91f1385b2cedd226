"""Marks in an SQLite file, in groups and singly: none is believed that a power cut can take back."""

from pathlib import Path

from outlive import Checkpoints, atomic_write
from outlive_harness import scenario


def letters() -> None:
    Path("inbox").mkdir()
    for name in ("a", "b", "c"):
        Path("inbox", name).write_text(f"letter {name}\n")
    Path("out").mkdir()


# What SQLite keeps in memory that processes share (-shm) it makes anew: nobody need see it.
@scenario(
    outputs="out/*",
    setup=letters,
    faults=("kill", "torn", "full", "eio", "term", "power"),
    ignore=".checkpoints/marks.sqlite-shm",
)
def library_sqlite() -> None:
    run = Checkpoints(store="sqlite")
    with run.group(most=2):
        items = run.items("copy", ["a", "b", "c"])
        for name in items:
            with items.doing(name):
                atomic_write(f"out/{name}", Path("inbox", name).read_text())
    if not run.step_done("join", version="1"):
        atomic_write("out/join", "".join(Path("out", name).read_text() for name in "abc"))
        run.mark_done("join", outputs="out/join", version="1")
    for letter in Path("inbox").iterdir():
        letter.unlink()
