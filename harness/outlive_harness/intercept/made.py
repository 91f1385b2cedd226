"""What a run makes among temporary files outside its box, so that it can be removed where the run cannot.

A process that is killed leaves its semaphores and shared memory under ``/dev/shm`` (sem_overview(7),
shm_overview(7)), and there they stay until the machine is restarted. A name counts as made by a run where
nothing had it before a call of the run was let go on, and something has it when the same task makes its next
call, or the run is over. What is removed later is that very file alone.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat

#: Directories of files that nobody keeps.
_PLACES = (b"/dev/shm", b"/tmp", b"/var/tmp")


class Made:
    """The temporary files of runs, outside their boxes."""

    def __init__(self) -> None:
        #: names that calls which are under way may make, by task
        self.awaited: dict[int, list[bytes]] = {}
        self._names: dict[bytes, None] = {}
        self._files: set[tuple[int, int]] = set()

    def note(self, tid: int, path: bytes) -> None:
        """Note that a task makes a call that may give a name, which nothing has yet."""
        parent = os.path.dirname(path)
        if parent in _places() or parent in self._names:
            self._names[path] = None
            self.awaited.setdefault(tid, []).append(path)

    def settle(self, tid: int) -> None:
        """Look at what a task's last call has made."""
        for path in self.awaited.pop(tid, ()):
            with contextlib.suppress(OSError):  # it failed
                self._files.add(_identity(os.lstat(path)))

    def end(self) -> None:
        """Look at what calls made that nothing followed: the run is over."""
        for tid in list(self.awaited):
            self.settle(tid)

    def take(self, other: Made) -> None:
        """Take over what another has noted."""
        self._names |= other._names
        self._files |= other._files

    def remove(self) -> None:
        """Remove what is still there, and forget it."""
        for place in _places() if self._files else ():
            names = [path.rpartition(b"/")[2] for path in self._names if os.path.dirname(path) == place]
            with contextlib.suppress(OSError):
                self._remove(place, None, names)
        self._names.clear()
        self._files.clear()

    def _remove(self, directory: bytes, within: int | None, names: list[bytes] | None) -> None:
        """Remove from a directory what has one of some names, or any, and was made by a run."""
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
                    os.rmdir(name, dir_fd=fd)  # which fails where somebody else's file lies in it
        finally:
            os.close(fd)


def _identity(info: os.stat_result) -> tuple[int, int]:
    return info.st_dev, info.st_ino


@functools.cache
def _places() -> tuple[bytes, ...]:
    return tuple({os.path.realpath(place): None for place in _PLACES})
