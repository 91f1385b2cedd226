"""A pipeline to which all that `outlive` promises matters: run as `_pipeline.py DIRECTORY-OF-OUTLIVE`."""

import os
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from outlive import Checkpoints, atomic_open, atomic_write, mark_done, run_steps, step_done

#: Markers of a run with an id lie in a directory of their own, which must last too.
checkpoints = Checkpoints(run_id="monday")
#: They fill more than a page: a write of less cannot be torn.
COPIES = 1000
#: What must be there at the end, whatever a library that is wrong makes of every run alike.
EXPECTED = {
    "out/alpha.txt": "a letter\n" * COPIES,
    "out/flag": "",
    "out/postcard": "a postcard\n",
    "out/report.txt": "\nrettel a" * COPIES,
}


def alpha() -> None:
    atomic_write("out/alpha.txt", Path("inbox/letter").read_text() * COPIES)


def report() -> None:
    """Replaces a file that is there."""
    atomic_write("out/report.txt", Path("out/alpha.txt").read_text()[::-1])


def drop(name: str) -> None:
    """Takes away what a step needs: from here on its marker and output must not be lost."""
    Path("inbox", name).unlink(missing_ok=True)
    inbox = os.open("inbox", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(inbox)
    os.close(inbox)


def told(line: str) -> None:
    """Believes what is reported: the sender keeps nothing that has arrived."""
    if line.split()[1] == "alpha":
        drop("letter")


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
run_steps([alpha, report], checkpoints=checkpoints, report=told)
if not step_done("postcard"):
    with atomic_open("out/postcard") as file:
        file.write(Path("inbox/postcard").read_text())
    mark_done("postcard")
drop("postcard")
for path, text in EXPECTED.items():
    if Path(path).read_text() != text or Path(path).stat().st_mode & 0o777 != 0o644:
        sys.exit(f"{path} is not what it should be")
