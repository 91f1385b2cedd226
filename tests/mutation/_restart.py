"""A restart that believes a marker, and then takes away what its step was made from.

Run as `_restart.py DIRECTORY-OF-OUTLIVE`. What this asks for takes two crashes to show: a kill just after
the marker's rename, and a power cut in the recovery.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from outlive import mark_done, step_done


def publish(text: str) -> None:
    """Write an output that no crash spoils, without the library."""
    with Path("out/letter.new").open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path("out/letter.new").rename("out/letter")
    out = os.open("out", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(out)
    os.close(out)


if not step_done("publish"):
    publish(Path("inbox/letter").read_text())
    mark_done("publish")
Path("inbox/letter").unlink(missing_ok=True)
