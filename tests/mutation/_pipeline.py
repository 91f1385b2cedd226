"""A pipeline to which all that `outlive` promises matters: run as `_pipeline.py DIRECTORY-OF-OUTLIVE`."""

import os
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from outlive import Checkpoints, atomic_write, mark_done, run_steps, step_done

#: Markers of a run with an id lie in a directory of their own, which must last too.
checkpoints = Checkpoints(run_id="monday")


def alpha() -> None:
    atomic_write("out/alpha.txt", Path("inbox/letter").read_text() * 400)


def report() -> None:
    """Replaces a file that is there."""
    atomic_write("out/report.txt", Path("out/alpha.txt").read_text()[::-1])


def drop(name: str = "letter") -> None:
    """Takes away what alpha needs: from here on alpha's marker and output must not be lost."""
    Path("inbox", name).unlink(missing_ok=True)
    inbox = os.open("inbox", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(inbox)
    os.close(inbox)


def token() -> None:
    """A mark that was taken back stays away, once anything else has lasted."""
    if Path("out/flag").exists():
        if checkpoints.step_done("token"):
            sys.exit("a mark came back that had been cleared")
        return
    checkpoints.mark_done("token")
    checkpoints.clear("token")
    atomic_write("out/flag", "")


token()
run_steps([alpha, report, drop], checkpoints=checkpoints)
if not step_done("postcard"):
    atomic_write("out/postcard", Path("inbox/postcard").read_text())
    mark_done("postcard")
    drop("postcard")
