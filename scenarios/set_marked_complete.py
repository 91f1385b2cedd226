"""Files that belong together may be replaced one by one while the mark that calls them complete is gone."""

import os
from pathlib import Path

from outlive import atomic_write
from outlive_harness import scenario

MARK = Path("out/_SUCCESS")


def of_yesterday() -> None:
    Path("out").mkdir()
    for name in ("table.csv", "index.csv", "_SUCCESS"):
        Path("out", name).write_text(f"{name} of yesterday\n")


def fsync_names() -> None:
    directory = os.open("out", os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


@scenario(
    outputs="out/*",
    together="out/*.csv if out/_SUCCESS",
    setup=of_yesterday,
    faults=("kill", "torn", "power"),
)
def set_marked_complete() -> None:
    MARK.unlink(missing_ok=True)
    fsync_names()  # or a power cut can leave the mark beside a newer file
    for name in ("table.csv", "index.csv"):
        atomic_write(Path("out", name), f"{name} of today\n")
    atomic_write(MARK, "_SUCCESS of today\n")
