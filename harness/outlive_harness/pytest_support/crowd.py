"""The pytest processes that share one job queue: which of them are at work."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Crowd:
    """The processes at work: each holds a lock on a file of its own, which the kernel drops at its death.

    A fork does not inherit such a lock (fcntl(2), F_SETLK).

    Args:
        place: the directory that all share.
        name: the name of this process.
    """

    def __init__(self, place: Path, name: str) -> None:
        self._place = place / "crowd"
        self._name = name
        self._lock: int | None = None

    def enter(self) -> None:
        """Note that this process is at work."""
        self._place.mkdir(exist_ok=True)
        self._lock = os.open(self._place / self._name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.lockf(self._lock, fcntl.LOCK_EX)

    def leave(self) -> None:
        """Note that this process is no longer at work."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def others(self) -> bool:
        """Return whether another process is at work."""
        names = os.listdir(self._place) if self._place.is_dir() else []
        return any(_is_locked(self._place / name) for name in names if name != self._name)

    def call_off(self) -> None:
        """Tell all processes to stop."""
        (self._place.parent / "over").touch()

    def is_called_off(self) -> bool:
        """Return whether all processes are to stop."""
        return (self._place.parent / "over").exists()


def _is_locked(path: Path) -> bool:
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
