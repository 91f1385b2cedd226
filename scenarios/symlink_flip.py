"""A new version is made beside the old one, and a symlink renamed over `current` switches to it at once."""

import os
import shutil
from pathlib import Path

from outlive import atomic_write
from outlive_harness import scenario


def first_version() -> None:
    Path("versions/1").mkdir(parents=True)
    Path("versions/1/index.html").write_text("old")
    Path("current").symlink_to("versions/1")


@scenario(outputs=("current", "versions/**"), setup=first_version, faults=("kill", "torn", "power"))
def symlink_flip() -> None:
    version = Path("versions/2")
    if Path("current").readlink() == version:
        return
    shutil.rmtree(version, ignore_errors=True)  # half of it, of a run that was killed
    version.mkdir()
    atomic_write(version / "index.html", "new")
    atomic_write(version / "style.css", "body { color: black }\n" * 200)
    versions = os.open("versions", os.O_RDONLY)
    os.fsync(versions)  # its name, too, must be on the disk before the link to it
    os.close(versions)
    Path("current.new").unlink(missing_ok=True)
    Path("current.new").symlink_to(version)
    Path("current.new").replace("current")
