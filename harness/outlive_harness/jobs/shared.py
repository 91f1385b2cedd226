"""What workers agree on by files: who was the first to something, and who is alone in a directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def first_to(directory: Path, name: str, owner: str) -> bool:
    """Return whether *name*, in a directory that all workers share, is this owner's to work on.

    It belongs to the first who asks. Whoever does a dead worker's task again asks as the same owner.
    """
    draft = directory / f".{os.getpid()}"
    draft.write_text(owner)
    try:
        os.link(draft, directory / name)
    except FileExistsError:
        return (directory / name).read_text() == owner
    finally:
        draft.unlink()
    return True


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Keep other processes out that ask for the same directory: whoever comes later waits."""
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
