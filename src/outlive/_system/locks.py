"""Locks on open files (flock(2)), and the file systems on which a lock is believed.

A lock is believed only on Linux, and on file systems that this kernel alone writes. Over a network (NFS, SMB,
9p, FUSE, virtiofs, Lustre) a lock may show nothing of the locks that other machines hold.

The type of a file system is looked up once for each device number. The kernel gives the number of a file
system without a disk to another one after an unmount. So what is known of those is dropped as soon as the
kernel reports a change of the mount table, which it does to a process that polls /proc/self/mountinfo
(proc_pid_mountinfo(5)).
"""

from __future__ import annotations

import errno
import os
import select
import sys
from _thread import allocate_lock
from typing import Any

from .descriptor import opened

_fcntl: Any
try:
    import fcntl as _fcntl
except ImportError:  # Windows
    _fcntl = None

#: File systems whose locks one kernel knows. An overlay counts: each has an upper layer of its own.
_LOCAL = frozenset(
    {"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs3", "nilfs2", "overlay"}
    | {"ramfs", "reiserfs", "tmpfs", "vfat", "xfs", "zfs"}
)
_TABLE = "/proc/thread-self/mountinfo"
_NO_PROC = (errno.ENOENT, errno.EACCES)

#: By device number, whether locks are believed: for disks, and for file systems without one.
_of_disks: dict[int, bool] = {}
_of_others: dict[int, bool] = {}
_watch: _Watch | None = None
_lost: list[_Watch] = []  # kept, or they would close a descriptor that another file has now
_guard = allocate_lock()


def lock(descriptor: int) -> bool | None:
    """Take a lock without waiting.

    Returns:
        False if another open file has the lock, None if the platform or the file system has no locks.
    """
    if _fcntl is None:
        return None
    try:
        _fcntl.flock(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def unlock(descriptor: int) -> None:
    """Release a lock, also for children that share the open file."""
    try:
        if _fcntl is not None:
            _fcntl.flock(descriptor, _fcntl.LOCK_UN)
    except OSError:  # the file system has no locks
        pass


def has_locks() -> bool:
    """Return whether this platform has locks that may be believed."""
    return _fcntl is not None and sys.platform == "linux"


def believes(directory: str, device: int) -> bool | None:
    """Return whether locks are believed in a directory.

    Args:
        directory: The directory.
        device: The device number of its file system.

    Returns:
        None if nothing shows it: /proc is missing, or the mount is outside the root of the process.

    Raises:
        OSError: The answer cannot be found now, for lack of a descriptor or of memory.
    """
    if sys.platform != "linux":
        return False
    # A network file system never has the number of a disk.
    known = _of_disks if os.major(device) else _unchanged()
    if device in known:
        return known[device]
    found = is_local(directory)
    if found is not None:
        known[device] = found
    return found


def is_local(directory: str) -> bool | None:
    """Return whether this kernel alone writes the file system of a directory; nothing is remembered.

    The results and errors are those of `believes`.
    """
    descriptor = opened(directory or os.curdir, os.O_PATH)
    try:
        # By its number: if mounts cover one another, the path does not show which one is seen.
        with open(f"/proc/thread-self/fdinfo/{descriptor.fileno()}", "rb") as facts:
            mount = b"".join([line.split()[1] for line in facts if line.startswith(b"mnt_id:")])
        with open(_TABLE, "rb") as mounts:
            for line in mounts:
                if line.split(b" ", 1)[0] == mount:
                    return os.fsdecode(line.partition(b" - ")[2].split(b" ", 1)[0]) in _LOCAL
    except OSError as error:
        if error.errno not in _NO_PROC:
            raise
    finally:
        descriptor.close()
    return None


class _Watch:
    """The mount table of this process, kept open so that the kernel reports changes.

    A forked child shares the open file and would consume its parent's reports, so it opens its own.
    """

    def __init__(self) -> None:
        self.process = os.getpid()
        self._table = opened(_TABLE, os.O_RDONLY)
        self._status = os.fstat(self._table.fileno())
        poll = select.poll()
        poll.register(self._table.fileno(), select.POLLPRI)
        self.changes = poll.poll

    def is_open(self) -> bool:
        """Return whether the descriptor still belongs to the table: a program may close all descriptors."""
        try:
            return os.path.samestat(self._status, os.fstat(self._table.fileno()))
        except OSError:
            return False


def _unchanged() -> dict[int, bool]:
    """Return what is known of file systems without a disk; nothing if a mount has changed since."""
    with _guard:
        try:
            if _watch is not None and not _watch.changes(0) and _watch.process == os.getpid():
                return _of_others
            return _watch_anew()
        except BaseException as error:
            _forget()  # an interrupt may have consumed the report
            if isinstance(error, OSError) and error.errno in _NO_PROC:
                return {}
            raise


def _watch_anew() -> dict[int, bool]:
    global _watch  # noqa: PLW0603 - one for the process
    _forget()
    if _watch is not None and not (_watch.is_open() and _watch.process == os.getpid()):
        _lost.append(_watch)
        _watch = None
    _watch = _watch or _Watch()
    return _of_others


def _forget() -> None:
    """Begin another dict instead of clearing this one: another thread may be about to add an old answer."""
    global _of_others  # noqa: PLW0603 - one for the process
    _of_others = {}


def _start_anew() -> None:
    global _watch, _guard  # noqa: PLW0603 - one for the process
    _guard = allocate_lock()  # a thread that does not exist here may hold the old one
    _watch = None
    _forget()


if sys.platform == "linux":
    os.register_at_fork(after_in_child=_start_anew)
