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
from typing import TYPE_CHECKING, Any

from ._descriptor import open_into, opened
from ._durable import synced_directory
from ._mounts import believes
from ._place import checked_path, shown

if TYPE_CHECKING:
    from ._descriptor import Descriptor

_fcntl: Any
try:
    import fcntl as _fcntl
except ImportError:  # Windows
    _fcntl = None

Identity = tuple[int, int]

SUFFIX = ".outlive-tmp"
#: Names that are looked at before one is drawn at random: more writers of one destination at a time.
LABELS = tuple(map(str, range(16)))
_LONGEST_NAME = 143  # bytes, what eCryptfs takes; most file systems take 255
_LONGEST_LABEL = 16  # bytes, of a number or a random part
_LONGEST_CHARACTER = 4  # bytes, in UTF-8
#: Bytes of a name that stand in its temporary's.
_ROOM = _LONGEST_NAME - len("..") - _LONGEST_LABEL - len(SUFFIX)
_NAME = re.compile(r"\..+\.(?:[0-9]{1,2}|[0-9a-f]{16})" + re.escape(SUFFIX), re.DOTALL)
#: It is gone, or not ours to remove, or deeper than Python's stack or than there are descriptors.
NOT_REMOVED = (OSError, RecursionError)
_LOOKS = 20
_BETWEEN_LOOKS = 0.01  # seconds
_LONGEST_AGE = 1e9  # seconds


def temporary_name(name: str, label: str) -> str:
    """Return the name of a destination's temporary; a long one is cut between characters."""
    while not is_short(name):
        name = name[:-1]
    return f".{name}.{label}{SUFFIX}"


def is_short(name: str) -> bool:
    """Return whether a name stands whole in that of its temporary."""
    if len(name) * _LONGEST_CHARACTER <= _ROOM or name.isascii():
        return len(name) <= _ROOM
    return len(os.fsencode(name)) <= _ROOM


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


def remove_orphans(
    directory: str | os.PathLike[str] = ".", *, older_than: float | None = None, dry_run: bool = False
) -> list[str]:
    """Remove the temporary files and directories that killed writers left in a directory.

    A write removes those of its own destination by itself. This is for destinations that nobody writes
    again, such as names with a date in them. What a live process of this machine still writes stays, as long
    as its lock can be believed: on Linux, on local file systems. Elsewhere (network file systems, a chroot
    without /proc, macOS, Windows) nothing says whether the writer lives, and all temporaries stay unless
    `older_than` is given. A server that exports a local directory does not see the locks of its clients: it
    must write and tidy up in other directories than they.

    Args:
        directory: Where to look; directories in it are not searched.
        older_than: Seconds. Where locks are not believed, a temporary is removed if nothing in it was changed
            for longer than that, by the clock of its file system. A writer that is alive and slower loses its
            work: it gets an error, and the destination stays as it was. So give more than any write takes.
            Where locks are believed they decide, and this counts for nothing.
        dry_run: Whether the paths are only returned, and nothing is removed.

    Returns:
        The paths that were removed, sorted.

    Raises:
        TypeError: The directory is no path, or `older_than` no number.
        ValueError: The directory is empty or no possible name, or `older_than` is negative or too large.
        OSError: The directory cannot be read; or, with `older_than`, no file can be made in it, which tells
            the time of the file system.
    """
    directory = checked_path("directory", directory)
    check_seconds("older_than", older_than)
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        message = f"directory={shown(directory)} cannot be read ({error.strerror})"
        raise OSError(error.errno, message, directory) from error
    paths = [os.path.join(directory, name) for name in names if _NAME.fullmatch(name)]
    before = _time_of(directory) - int(older_than * 10**9) if older_than is not None and paths else None
    return [path for path in paths if remove_orphan(path, before=before, dry_run=dry_run)]


def check_seconds(argument: str, value: object) -> None:
    """Refuse what is neither None nor a number of seconds from 0.

    Raises:
        TypeError: It is no number.
        ValueError: It is negative, or none that can be counted.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{argument}={shown(value)} is not a number of seconds")
    if not 0 <= value < _LONGEST_AGE:
        raise ValueError(f"{argument}={shown(value)} is not a number of seconds from 0")


def _time_of(directory: str) -> int:
    """Return the time in ns by the clock of a directory's file system, which may be a server's."""
    path = os.path.join(directory, temporary_name("outlive-clock", os.urandom(8).hex()))
    held: list[Descriptor] = []
    try:
        open_into(held, path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        return os.fstat(held[0].fileno()).st_mtime_ns
    finally:
        for one in held:
            one.close()
            os.unlink(path)


def remove_orphan(path: str, *, before: int | None = None, dry_run: bool = False) -> bool:
    """Remove a temporary, if it is known that no live process writes it; return whether it was removed.

    A directory may be the old one of an exchange that a killed process did not bring to the disk. It is
    taken apart only when that is done, or a power cut could bring it back in parts.

    Args:
        path: The temporary's.
        before: Where locks are not believed, what was last changed before that time, in ns, is an orphan.
        dry_run: Whether it stays, and is only judged.
    """
    if before is None and (_fcntl is None or sys.platform != "linux"):
        return False
    try:
        descriptor = opened(path, read_flags())
    except OSError:
        return False
    try:
        number = descriptor.fileno()
        status = os.fstat(number)
        known = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
        if not known or not _is_orphan(path, number, before):
            return False
        if identity_of(status) != identity_of(os.lstat(path)):
            return False
        if not dry_run:
            if stat.S_ISDIR(status.st_mode):
                with synced_directory(os.path.dirname(path)):
                    pass
            remove(path, number)
    except NOT_REMOVED:
        return False
    finally:
        descriptor.close()
    return True


def _is_orphan(path: str, descriptor: int, before: int | None) -> bool:
    """Return whether no live process writes a temporary: by its lock, or if that says nothing by its age."""
    believed = believes(path, os.stat(os.path.dirname(path) or os.curdir).st_dev)
    if believed:
        return lock(descriptor) is True
    # Where nothing says what file system it is, writers take locks. On a network none is touched: over SMB
    # it would keep a live writer from writing.
    if before is None or (believed is None and lock(descriptor) is False):
        return False
    return _last_change(path) < before


def _last_change(path: str) -> int:
    """Return when a file, or a directory or anything in it, was last changed, in ns."""
    found = [os.lstat(path)]
    for top, directories, files in os.walk(path):
        found += [os.lstat(os.path.join(top, name)) for name in (*directories, *files)]
    return max(max(status.st_mtime_ns, status.st_ctime_ns) for status in found)


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
