"""The directory that a session makes and removes, and those that killed sessions left behind.

Others may write beside it, so its name and path prove nothing. A directory is removed only if no one but us
can have made it: it belongs to this user, nobody else may enter it, it was opened without following a link,
and a mark in it names this very directory. A session holds a lock on the mark, which is removed last.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Self

from outlive_harness.disk.mounts import below, detach
from outlive_harness.disk.removal import empty_directory

_NAME = re.compile("outlive-[0-9a-f]{16}")
_MARK = ".outlive-session"
_VERSION = 1
#: Its subdirectory with a file for each worker, which is locked while the worker lives.
WORKERS = "workers"
#: The file in it whose time says when the session began.
BEGAN = "began"
_OPENED = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class OwnDirectory:
    """A directory that is ours, opened, and locked against removal by others.

    Args:
        path: its path.
        parent: a descriptor of its parent directory.
        fd: a descriptor of the directory.
        mark: a descriptor of its mark, which holds the lock.
    """

    def __init__(self, path: Path, parent: int, fd: int, mark: int) -> None:
        self.path = path
        self._parent, self._fd, self._mark = parent, fd, mark

    @classmethod
    def make(cls, where: Path) -> Self:
        """Make one in a directory.

        Raises:
            OSError: it cannot be made.
        """
        parent = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
        try:
            while True:
                name = f"outlive-{secrets.token_hex(8)}"
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=parent)
                    opened = _made(parent, name)
                    if opened is not None:
                        return cls(where / name, parent, *opened)
        except BaseException:
            os.close(parent)
            raise

    def has_workers(self) -> bool:
        """Return whether a worker that was started in it still lives."""
        return _has_workers(self._fd)

    def remove(self) -> None:
        """Remove it with its content; what cannot be removed is left for a later session."""
        with contextlib.suppress(OSError):
            _remove(self._parent, self.path.name, self._fd)
        for fd in (self._mark, self._fd, self._parent):
            os.close(fd)


def remove_stale(where: Path) -> None:
    """Remove the directories that this user's killed sessions left in *where*; never one that is in use."""
    with contextlib.suppress(OSError):
        parent = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in filter(_NAME.fullmatch, os.listdir(parent)):
                with contextlib.suppress(OSError):
                    _remove_if_stale(parent, name)
        finally:
            os.close(parent)


def _made(parent: int, name: str) -> tuple[int, int] | None:
    """Open and mark a new directory; return None if another session took it for a stale one."""
    try:
        fd = os.open(name, _OPENED, dir_fd=parent)
    except FileNotFoundError:
        return None
    try:
        mark = _marked(fd, name)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(_MARK, dir_fd=fd)
            os.rmdir(name, dir_fd=parent)
        os.close(fd)
        raise
    if mark is None:
        os.close(fd)
        return None
    return fd, mark


def _marked(fd: int, name: str) -> int | None:
    """Make the mark, locked before it has content; return None if the directory is gone already."""
    try:
        mark = os.open(_MARK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=fd)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(mark).st_nlink:
            os.write(mark, _text(fd, name))
            os.fsync(mark)  # after a power cut the mark is there if anything else is
            return mark
    except BlockingIOError:
        pass
    except BaseException:
        os.close(mark)
        raise
    os.close(mark)
    return None


def _text(fd: int, name: str) -> bytes:
    """Return the mark's text, which names the inode: a copy in another directory proves nothing."""
    return f"outlive session {_VERSION} {name} {os.fstat(fd).st_ino}\n".encode()


def _remove_if_stale(parent: int, name: str) -> None:
    fd = os.open(name, _OPENED, dir_fd=parent)
    try:
        info = os.fstat(fd)
        if info.st_uid != os.geteuid() or info.st_mode & 0o077:
            return
        try:
            mark = os.open(_MARK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=fd)
        except FileNotFoundError:
            if not os.listdir(fd):  # its session was killed before it made the mark, or after it removed it
                os.rmdir(name, dir_fd=parent)
            return
        try:
            if _is_ours(mark, fd, name) and not _has_workers(fd):
                _remove(parent, name, fd)
        finally:
            os.close(mark)
    finally:
        os.close(fd)


def _is_ours(mark: int, fd: int, name: str) -> bool:
    """Lock a mark; return whether it is one of ours.

    Raises:
        OSError: a session uses the directory.
    """
    info = os.fstat(mark)
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_nlink != 1:
        return False
    fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    text = os.pread(mark, 256, 0)
    # A session that is killed while it makes its mark leaves an empty one and nothing else.
    return text == _text(fd, name) or (not text and os.listdir(fd) == [_MARK])


def _has_workers(fd: int) -> bool:
    """Return whether a worker lives: each holds the lock on a file of its own until it ends."""
    try:
        directory = os.open(WORKERS, _OPENED, dir_fd=fd)
    except OSError:
        return False
    try:
        return any(_is_locked(directory, name) for name in os.listdir(directory))
    finally:
        os.close(directory)


def _is_locked(directory: int, name: str) -> bool:
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _remove(parent: int, name: str, fd: int) -> None:
    """Remove a directory that is ours, its mark last.

    Raises:
        OSError: it cannot be removed, and keeps its mark.
    """
    detach(fd)  # mounts of a worker that was killed
    if below(fd):
        return
    empty_directory(fd, spared=_MARK)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_MARK, dir_fd=fd)
    try:
        os.rmdir(name, dir_fd=parent)
    except OSError:  # a process still writes there
        again = _marked(fd, name)
        if again is not None:
            os.close(again)
        raise
