"""Agreements between workers by files: who comes first, and who works in a directory alone."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


def first_to(directory: Path, name: str, owner: str) -> bool:
    """Return whether *owner* is the first to ask for *name* in a directory that all workers share.

    A worker that repeats a dead worker's task asks as the same owner, and so is the first again.
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
    """Keep out other processes that ask for the same directory: they wait."""
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
