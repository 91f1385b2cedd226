"""A lock that the kernel keeps (flock) dies with the process, so that the next run is not locked out."""

import fcntl
import sys
from pathlib import Path

from outlive import atomic_write
from outlive_harness import scenario


@scenario(outputs="report.csv")
def kernel_lock() -> None:
    with Path("run.lock").open("w") as lock:  # the file stays for ever; it is the lock that comes and goes
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("another run is under way")
        atomic_write("report.csv", "a,b\n" * 1000)
