"""A log on XFS grows only after its data are on the disk, so that its reader finds no zeros at its end."""

import os
from pathlib import Path

from outlive_harness import scenario

EVENTS = [f"event {number}" for number in range(1, 6)]


# The pipeline of append_log.py. On other disks a power cut can leave a size without data: there its readers
# need checksums, as those of write_ahead_log.py have.
@scenario(outputs="events.log", append_only="events.log", faults=("kill", "power"), profile="xfs")
def append_log_on_xfs() -> None:
    with Path("events.log").open("ab+", buffering=0) as log:
        log.seek(0)
        whole, newline, _ = log.read().rpartition(b"\n")
        log.truncate(len(whole + newline))  # a line that was cut off
        done = (whole + newline).count(b"\n")
        for event in EVENTS[done:]:
            log.write(event.encode() + b"\n")
            os.fsync(log.fileno())
