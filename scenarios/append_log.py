"""A log that only grows is resumed at its last whole line; any prefix of whole lines is a valid log."""

import os
from pathlib import Path

from outlive_harness import scenario

EVENTS = [f"event {number}" for number in range(1, 6)]


# Neither `torn` nor `full`: half a line can be seen, and readers of such a log have to wait for its end.
@scenario(outputs="events.log", append_only="events.log", faults=("kill", "eio", "term"))
def append_log() -> None:
    with Path("events.log").open("ab+", buffering=0) as log:
        log.seek(0)
        whole, newline, _ = log.read().rpartition(b"\n")
        log.truncate(len(whole + newline))  # a line that was cut off
        done = (whole + newline).count(b"\n")
        for event in EVENTS[done:]:
            log.write(event.encode() + b"\n")
            os.fsync(log.fileno())
