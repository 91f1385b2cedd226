"""A pipeline to which what is written together matters: run as `_groups.py DIRECTORY-OF-OUTLIVE`."""

import os
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from outlive import atomic_batch, atomic_directory

OLD, NEW = {"one": "old", "two": "old"}, {"one": "a letter\n", "three": "a letter\n"}


def drop(name: str) -> None:
    """Takes away what outputs were made from: from here on they must not be lost."""
    Path("inbox", name).unlink()
    inbox = os.open("inbox", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(inbox)
    os.close(inbox)


def tree() -> dict[str, str]:
    """Reads the directory, which is the old one or the new one at any time."""
    return {path.name: path.read_text() for path in Path("out/tree").iterdir()}


if tree() not in (OLD, NEW):
    sys.exit(f"out/tree is neither the old one nor the new one: {tree()}")
if Path("inbox/letter").exists():
    text = Path("inbox/letter").read_text()
    with atomic_directory("out/fresh") as place:
        (place / "only").write_text(text)
    with atomic_directory("out/tree") as place:
        for name in NEW:
            (place / name).write_text(text)
    drop("letter")
if Path("inbox/postcard").exists():
    text = Path("inbox/postcard").read_text()
    with atomic_batch() as batch:
        for name in ("red", "blue"):
            batch.write(f"out/{name}", text)
        with batch.open("out/green") as file:
            file.write(text)
    drop("postcard")
if Path("out/fresh/only").read_text() != "a letter\n":
    sys.exit("out/fresh is not what it should be")
if {Path("out", name).stat().st_mode & 0o777 for name in ("red", "green", "tree")} != {0o700}:
    sys.exit("what was replaced had another mode")
if tree() != NEW or {Path("out", name).read_text() for name in ("red", "blue", "green")} != {"a postcard\n"}:
    sys.exit("not all that was written is there")
