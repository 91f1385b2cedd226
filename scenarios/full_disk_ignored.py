"""A full disk that is only logged: a short report is published, and its job is filed as done."""

import os
from pathlib import Path

from outlive_harness import scenario

TODO, DONE = Path("report.todo"), Path("report.done")


def order() -> None:
    TODO.write_text("monday,1\n" * 500)


@scenario(outputs="report.csv", setup=order, faults="full", expect=("torn-output", "diverged"))
def full_disk_ignored() -> None:
    if DONE.exists():
        return
    part = os.open(".report.part", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(part, b"day,total\n" + TODO.read_bytes())
    except OSError as error:
        print(f"ignored: {error}")
    os.close(part)
    Path(".report.part").rename("report.csv")
    TODO.rename(DONE)  # a rename needs no room
