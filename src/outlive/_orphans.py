"""Temporaries that killed writers left: how they are told from those of live writers, and their removal.

A temporary of `report.csv` is `.report.csv.0.outlive-tmp` beside it; if that is taken, number 1, and so on.
Its writer holds a lock on it (flock(2)), which the kernel takes away when the process ends, however it
ends. A temporary whose lock can be had is therefore an orphan. As the names are few and known, the next
write to the same destination comes upon it and removes it, and never has to search the directory.

Who removes an orphan looks, lock in hand, whether the name still stands for it: its writer may have made it
just now, and not locked it yet.

Locks are believed only on Linux, and on file systems of one machine. On a network (NFS, SMB, 9p, FUSE,
virtiofs, Lustre) a lock may say nothing of other machines: there temporaries are removed by their writers
alone, and once a killed one has left its own under the first number, the next number is taken. So it is
where nothing tells what file system it is, as in a chroot; there locks are taken all the same, for others.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import time
from contextlib import suppress
from typing import Any

from ._descriptor import opened
from ._durable import synced_directory
from ._mounts import believes
from ._place import checked_path, shown

_fcntl: Any
try:
    import fcntl as _fcntl
except ImportError:  # Windows
    _fcntl = None

Identity = tuple[int, int]

SUFFIX = ".outlive-tmp"
#: Names that are looked at before one is drawn at random: more writers of one destination at a time.
LABELS = tuple(map(str, range(16)))
_LONGEST_NAME = 255  # bytes, NAME_MAX of Linux and macOS
_LONGEST_LABEL = 16  # bytes, of a number or a random part
_LONGEST_CHARACTER = 4  # bytes, in UTF-8
_ROOM = _LONGEST_NAME - len("..") - _LONGEST_LABEL - len(SUFFIX)
#: Characters of a name that is never too long for its temporary's.
SHORT = _ROOM // _LONGEST_CHARACTER
_NAME = re.compile(r"\..+\.(?:[0-9]{1,2}|[0-9a-f]{16})" + re.escape(SUFFIX), re.DOTALL)
#: It is gone, or not ours to remove, or deeper than Python's stack or than there are descriptors.
NOT_REMOVED = (OSError, RecursionError)
_LOOKS = 20
_BETWEEN_LOOKS = 0.01  # seconds


def temporary_name(name: str, label: str) -> str:
    """Return the name of a destination's temporary; a long one is cut between characters."""
    while len(name) > SHORT and len(os.fsencode(name)) > _ROOM:
        name = name[:-1]
    return f".{name}.{label}{SUFFIX}"


def lock(descriptor: int) -> bool | None:
    """Take a lock; return False if another has it, and None where there are no locks."""
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
    """Let go of a lock."""
    try:
        if _fcntl is not None:
            _fcntl.flock(descriptor, _fcntl.LOCK_UN)
    except OSError:  # no locks here
        pass


def remove_orphans(directory: str | os.PathLike[str] = ".") -> list[str]:
    """Remove the temporary files and directories that killed writers left in a directory.

    A write removes those of its own destination by itself. This is for destinations that nobody writes
    again, as names with a date in them. What a live process still writes, on this machine, stays; so
    does all on network file systems, in a chroot without /proc, and elsewhere than on Linux, where nothing
    tells the two apart. A server that exports a local directory is not told what its clients write there:
    it must write and tidy up in other directories than they.

    Args:
        directory: Where to look; not in what is below.

    Returns:
        The paths that were removed, sorted.

    Raises:
        TypeError: The directory is no path.
        ValueError: It is empty or no possible name.
        OSError: It cannot be read.
    """
    directory = checked_path("directory", directory)
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        message = f"directory={shown(directory)} cannot be read ({error.strerror})"
        raise OSError(error.errno, message, directory) from error
    paths = [os.path.join(directory, name) for name in names if _NAME.fullmatch(name)]
    return [path for path in paths if remove_orphan(path)]


def remove_orphan(path: str) -> bool:
    """Remove a temporary, if it is known that no live process writes it; return whether it was removed.

    A directory may be the old one of an exchange that a killed process did not bring to the disk. It is
    taken apart only when that is done, or a power cut could bring it back in parts.
    """
    if _fcntl is None or sys.platform != "linux":
        return False
    try:
        descriptor = opened(path, read_flags())
    except OSError:
        return False
    try:
        number = descriptor.fileno()
        status = os.fstat(number)
        known = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
        device = os.stat(os.path.dirname(path) or os.curdir).st_dev
        if not known or not believes(path, device) or not lock(number):
            return False
        if identity_of(status) != identity_of(os.lstat(path)):
            return False
        if stat.S_ISDIR(status.st_mode):
            with synced_directory(os.path.dirname(path)):
                pass
        remove(path, number)
    except NOT_REMOVED:
        return False
    finally:
        descriptor.close()
    return True


def remove_further(directory: str, name: str, labels: tuple[str, ...]) -> None:
    """Remove orphans under the next names, up to one that is free: several writers may have been killed."""
    for label in labels:
        path = os.path.join(directory, temporary_name(name, label))
        if not os.path.lexists(path):
            return
        remove_orphan(path)


def remove_replaced(path: str, old: os.stat_result) -> None:
    """Remove the old directory of an exchange, which is on the disk; what cannot be removed stays.

    Who published it may hold its lock still, for as long as it brings the names to the disk.

    Args:
        path: Where it is.
        old: What it is. What has its name by now may be another, and the only copy of that.
    """
    with suppress(*NOT_REMOVED):
        for _ in range(_LOOKS):
            if _removed(path, old):
                return
            time.sleep(_BETWEEN_LOOKS)


def _removed(path: str, old: os.stat_result) -> bool:
    """Remove a directory, unless it is another by now; return False if its lock is another's."""
    if sys.platform == "win32":
        if identity_of(os.lstat(path)) == identity_of(old):
            remove(path, -1)
        return True
    descriptor = opened(path, read_flags())
    try:
        number = descriptor.fileno()
        if identity_of(os.fstat(number)) != identity_of(old):
            return True
        if believes(path, old.st_dev) is not False and lock(number) is False:
            return False
        remove(path, number)
    finally:
        descriptor.close()
    return True


def remove(path: str, number: int) -> None:
    """Remove a file, or a directory with all that is in it; no link that somebody puts there is followed.

    Args:
        path: Where it is.
        number: The directory's descriptor: another that has its name by now keeps what is in it. Not on
            Windows.
    """
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
    elif sys.platform == "win32":
        from shutil import rmtree  # noqa: PLC0415 - keeps `import outlive` light

        rmtree(path)
    else:
        try:
            _empty(number)
        except PermissionError:  # where a directory in it was made read-only
            _empty(number, makes_writable=True)
        os.rmdir(path)


def _empty(where: int, *, makes_writable: bool = False) -> None:
    """Remove what is in a directory that is open; `os.fwalk` would lose descriptors to interrupts."""
    if makes_writable:
        os.fchmod(where, stat.S_IRWXU)
    with os.scandir(where) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            os.unlink(name, dir_fd=where)
            continue
        below = opened(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=where)
        try:
            _empty(below.fileno(), makes_writable=makes_writable)
        finally:
            below.close()
        os.rmdir(name, dir_fd=where)


def identity_of(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def read_flags() -> int:
    if sys.platform == "win32":  # whose fsync asks for the right to write
        return os.O_RDWR | os.O_BINARY
    return os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
