"""Items that are marked one by one are each done, and none is counted that a crash took back."""

from pathlib import Path

from outlive import Checkpoints, atomic_write
from outlive_harness import scenario

NAMES = ("a", "b", "c")


def letters() -> None:
    Path("inbox").mkdir()
    for name in NAMES:
        Path("inbox", name).write_text(f"letter {name}\n")
    for folder in ("out", "work"):
        Path(folder).mkdir()


@scenario(
    outputs="out/*", setup=letters, faults=("kill", "torn", "full", "eio", "term", "power"), torn="bytes"
)
def library_items() -> None:
    run = Checkpoints()
    items = run.items("copy", NAMES)
    for name in items:
        with items.doing(name, outputs=f"work/{name}"):
            letter = Path("inbox", name).read_text()
            atomic_write(f"out/{name}", letter)
            Path("work", name).write_text(letter)  # no rename, no fsync: its mark sees to that
        Path("inbox", name).unlink()  # it is marked, and its input need not be there any more
    run.mark_done("copy")
    atomic_write("out/all", "".join(Path("work", name).read_text() for name in NAMES))
    for letter in Path("inbox").iterdir():  # of an item that was marked just before the kill
        letter.unlink()
