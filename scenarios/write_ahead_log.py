"""A log whose records carry a checksum ends, for who reads it, before the first one that is damaged."""

import os
import zlib
from pathlib import Path

from outlive_harness import ack, scenario

LOG = Path("events.log")
EVENTS = [f"event {number} ".ljust(3000, ".") for number in range(1, 4)]  # the second is in two blocks


def record(event: str) -> bytes:
    return f"{zlib.crc32(event.encode()):08x} {event}\n".encode()


def whole_records() -> list[str]:
    events = []
    for line in LOG.read_bytes().splitlines(keepends=True) if LOG.exists() else []:
        event = line[9:-1].decode(errors="replace")
        if line != record(event):
            break
        events.append(event)
    return events


def what_was_promised(acks: list[str]) -> list[str]:
    events = whole_records()
    assert set(acks) <= set(events)
    return events


@scenario(check=what_was_promised, faults=("kill", "torn", "power"))
def write_ahead_log() -> None:
    done = whole_records()
    with LOG.open("ab", buffering=0) as log:
        log.truncate(len(b"".join(map(record, done))))
        os.fsync(log.fileno())  # what a killed run wrote need not be on the disk
        directory = os.open(".", os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        for event in EVENTS[len(done) :]:
            log.write(record(event))
            os.fsync(log.fileno())
            ack(event)
