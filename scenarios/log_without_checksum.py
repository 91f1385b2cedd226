"""A line that ends need not be whole: its end can reach the disk, and its beginning be zeros."""

import os
from pathlib import Path

from outlive_harness import scenario

LOG = Path("events.log")
EVENTS = [f"event {number} ".ljust(3000, ".") for number in range(1, 4)]  # the second is in two blocks


def events() -> list[bytes]:
    return LOG.read_bytes().split(b"\n")[:-1] if LOG.exists() else []


@scenario(check=events, faults="power", expect="diverged")
def log_without_checksum() -> None:
    done = events()
    with LOG.open("ab", buffering=0) as log:
        log.truncate(sum(len(event) + 1 for event in done))  # removes a line that was cut off
        for event in EVENTS[len(done) :]:
            log.write(event.encode() + b"\n")
            os.fsync(log.fileno())
