"""Files that belong together change at once if readers reach them through a link to their directory."""

import os
import shutil
from pathlib import Path

from outlive import atomic_write
from outlive_harness import scenario


def of_yesterday() -> None:
    Path("1").mkdir()
    for name in ("table.csv", "index.csv"):
        Path("1", name).write_text(f"{name} of yesterday\n")
    Path("out").symlink_to("1")


@scenario(outputs="out/*", together="out/*", setup=of_yesterday, faults=("kill", "torn", "power"))
def set_behind_a_link() -> None:
    if Path("out").readlink() == Path("2"):
        return
    shutil.rmtree("2", ignore_errors=True)  # half of it, of a run that was killed
    Path("2").mkdir()
    for name in ("table.csv", "index.csv"):
        atomic_write(Path("2", name), f"{name} of today\n")
    box = os.open(".", os.O_RDONLY)
    os.fsync(box)  # its name, too, must be on the disk before the link to it
    os.close(box)
    Path("out.new").unlink(missing_ok=True)
    Path("out.new").symlink_to("2")
    Path("out.new").replace("out")
