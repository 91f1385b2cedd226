"""Where locks are believed: on file systems that this kernel alone writes (proc_pid_mountinfo(5)).

What a device number stands for is looked up once. Numbers of file systems without a disk are given to others
when those are unmounted, so what is known of them is forgotten as soon as the kernel reports a change of the
mount table, which it does to whoever polls that file for an exceptional condition.
"""

from __future__ import annotations

import errno
import os
import select
import sys
from _thread import allocate_lock

from ._descriptor import opened

#: File systems of which one kernel knows all locks. Overlays count: each has an upper layer of its own.
_LOCAL = frozenset(
    {"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs3", "nilfs2", "overlay"}
    | {"ramfs", "reiserfs", "tmpfs", "vfat", "xfs", "zfs"}
)
_TABLE = "/proc/thread-self/mountinfo"
_NO_PROC = (errno.ENOENT, errno.EACCES)

#: Whether locks are believed, by device number: of disks, and of what has a number that may change hands.
_of_disks: dict[int, bool] = {}
_of_others: dict[int, bool] = {}
_watch: _Watch | None = None
_lost: list[_Watch] = []  # kept, or they would close what has their number by now
_guard = allocate_lock()


def believes(path: str, device: int) -> bool | None:
    """Return whether locks are believed where a temporary is.

    Args:
        path: The temporary's; its directory decides.
        device: The number of the directory's file system.

    Returns:
        None where nothing tells: there is no /proc, or the mount is not below the process's root.

    Raises:
        OSError: That cannot be found out now, for want of a descriptor or of memory.
    """
    if sys.platform != "linux":
        return False
    # No network's file system has the number of a disk.
    known = _of_disks if os.major(device) else _unchanged()
    if device in known:
        return known[device]
    found = is_local(os.path.dirname(path))
    if found is not None:
        known[device] = found
    return found


def is_local(directory: str) -> bool | None:
    """Return whether this kernel alone writes the file system of a directory; looked up anew.

    The values and errors are those of `believes`.
    """
    descriptor = opened(directory or os.curdir, os.O_PATH)
    try:
        # By its number: of two mounts on one place, or one above another, the path says not which is seen.
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
    """The mount table of this process, open to be told of changes.

    A child shares what is open, and would take such news from its parent; it opens its own.
    """

    def __init__(self) -> None:
        self.process = os.getpid()
        self._table = opened(_TABLE, os.O_RDONLY)
        self._status = os.fstat(self._table.fileno())
        poll = select.poll()
        poll.register(self._table.fileno(), select.POLLPRI)
        self.changes = poll.poll

    def is_open(self) -> bool:
        """Return whether the descriptor is still the mount table's: somebody may close all that there are."""
        try:
            return os.path.samestat(self._status, os.fstat(self._table.fileno()))
        except OSError:
            return False


def _unchanged() -> dict[int, bool]:
    """Return what is known of file systems without a disk: nothing if a mount has changed since."""
    with _guard:
        try:
            if _watch is not None and not _watch.changes(0) and _watch.process == os.getpid():
                return _of_others
            return _begun_anew()
        except BaseException as error:
            _forget()  # it may have been an interrupt that took the news away
            if isinstance(error, OSError) and error.errno in _NO_PROC:
                return {}
            raise


def _begun_anew() -> dict[int, bool]:
    global _watch  # noqa: PLW0603 - one a process
    _forget()
    if _watch is not None and not (_watch.is_open() and _watch.process == os.getpid()):
        _lost.append(_watch)
        _watch = None
    _watch = _watch or _Watch()
    return _of_others


def _forget() -> None:
    """Take another dict, and not clear the one: another thread may be about to add what it saw before."""
    global _of_others  # noqa: PLW0603 - one a process
    _of_others = {}


def _start_anew() -> None:
    global _watch, _guard  # noqa: PLW0603 - one a process
    _guard = allocate_lock()  # a thread of the parent may hold the old one, and is not here
    _watch = None
    _forget()


if sys.platform == "linux":
    os.register_at_fork(after_in_child=_start_anew)
