"""A lock file outlives the run that made it, and every later run refuses to start."""

import sys
from pathlib import Path

from outlive import atomic_write
from outlive_harness import scenario


@scenario(outputs="report.csv", expect="recovery-failed")
def lock_file_fails() -> None:
    lock = Path("run.lock")
    try:
        lock.touch(exist_ok=False)
    except FileExistsError:
        sys.exit("another run is under way")
    try:
        atomic_write("report.csv", "a,b\n" * 1000)
    finally:  # nothing is final about it when the process is killed
        lock.unlink()
