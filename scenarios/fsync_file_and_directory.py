"""All by hand: write, fsync, rename, fsync of the directory, and only then a marker, made in the same way."""

import os
from pathlib import Path

from outlive_harness import scenario


def fsync_names(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def install(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    fsync_names(path.parent)


@scenario(outputs="out/*", faults=("kill", "torn", "full", "eio", "term", "power"))
def fsync_file_and_directory() -> None:
    done = Path("report.done")
    if done.exists():
        return
    Path("out").mkdir(exist_ok=True)
    fsync_names(Path())  # out/ is a name, too
    install(Path("out/report.csv"), "a,b\n" * 2000)
    install(done, "")
