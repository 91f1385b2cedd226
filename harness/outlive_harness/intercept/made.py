"""Temporary files that a run makes outside its box, to remove them if the run itself cannot.

A killed process leaves its semaphores and shared memory under ``/dev/shm`` (sem_overview(7),
shm_overview(7)), where they stay until the machine restarts. A file counts as made by a run if its name did
not exist before a call of the run, and exists when the same task makes its next call or the run ends. Only
that very file is removed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat

#: Directories of temporary files.
_PLACES = (b"/dev/shm", b"/tmp", b"/var/tmp")


class Made:
    """The temporary files of runs, outside their boxes."""

    def __init__(self) -> None:
        #: names that calls under way may make, by task
        self.awaited: dict[int, list[bytes]] = {}
        self._names: dict[bytes, None] = {}
        self._files: set[tuple[int, int]] = set()

    def note(self, tid: int, path: bytes) -> None:
        """Note a name that does not exist yet and that a task's call may make."""
        parent = os.path.dirname(path)
        if parent in _places() or parent in self._names:
            self._names[path] = None
            self.awaited.setdefault(tid, []).append(path)

    def settle(self, tid: int) -> None:
        """Look for the files that a task's last call was to make."""
        for path in self.awaited.pop(tid, ()):
            with contextlib.suppress(OSError):  # the call failed
                self._files.add(_identity(os.lstat(path)))

    def end(self) -> None:
        """Look for the files of every task's last call: the run is over."""
        for tid in list(self.awaited):
            self.settle(tid)

    def take(self, other: Made) -> None:
        """Take over the files of another run."""
        self._names |= other._names
        self._files |= other._files

    def remove(self) -> None:
        """Remove the files that are left, and forget them."""
        for place in _places() if self._files else ():
            names = [path.rpartition(b"/")[2] for path in self._names if os.path.dirname(path) == place]
            with contextlib.suppress(OSError):
                self._remove(place, None, names)
        self._names.clear()
        self._files.clear()

    def _remove(self, directory: bytes, within: int | None, names: list[bytes] | None) -> None:
        """Remove the files in a directory that a run made: those of some names, or all."""
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)
        try:
            if within is not None and _identity(os.fstat(fd)) not in self._files:
                return
            for name in map(os.fsencode, os.listdir(fd)) if names is None else names:
                with contextlib.suppress(OSError):
                    info = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if _identity(info) not in self._files:
                        continue
                    if not stat.S_ISDIR(info.st_mode):
                        os.unlink(name, dir_fd=fd)
                        continue
                    self._remove(name, fd, None)
                    os.rmdir(name, dir_fd=fd)  # this fails if another program's file is in it
        finally:
            os.close(fd)


def _identity(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino


@functools.cache
def _places() -> tuple[bytes, ...]:
    return tuple({os.path.realpath(place): None for place in _PLACES})
