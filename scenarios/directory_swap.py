"""Two renames swap a directory: for a moment readers find none of it, but they never find half of it."""

import os
import shutil
from pathlib import Path

from outlive import atomic_write
from outlive_harness import scenario

SITE, NEW, OLD = Path("site"), Path("site.new"), Path("site.old")


def old_site() -> None:
    SITE.mkdir()
    (SITE / "index.html").write_text("old")


def fsync_names() -> None:
    directory = os.open(".", os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


@scenario(
    outputs="site/**",
    together="site/**",
    setup=old_site,
    litter="fail",
    faults=("kill", "torn", "power"),
)
def directory_swap() -> None:
    if not SITE.exists():  # killed between the two renames
        OLD.rename(SITE)
    fsync_names()  # a killed run may have left them to the page cache
    for leftover in (NEW, OLD):
        shutil.rmtree(leftover, ignore_errors=True)
    NEW.mkdir()
    atomic_write(NEW / "index.html", "new")
    atomic_write(NEW / "style.css", "body { color: black }\n" * 200)
    SITE.rename(OLD)
    NEW.rename(SITE)
    fsync_names()  # or a power cut can leave neither: the old site removed, the new one not renamed
    shutil.rmtree(OLD)
