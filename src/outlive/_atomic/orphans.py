"""Temporaries that killed writers left: how to tell them from those of live writers, and their removal.

The temporary of `report.csv` is `.report.csv.0.outlive-tmp` beside it; if that is taken, number 1, and so on.
Its writer holds a lock on it (flock(2)), which the kernel releases when the process ends, however it ends. So
a temporary whose lock is free is an orphan. As the names are few and known, the next write to the same
destination finds the orphan and removes it, and never searches the directory.

A process that removes an orphan takes its lock first, and then checks that the name still stands for it: the
writer may have made the file just now, and not locked it yet.

Where locks are not believed (see `outlive._system.locks`), a temporary is removed by its writer alone. Once a
killed writer has left its own under the first number, the next number is taken. If nothing shows what file
system it is, as in a chroot without /proc, writers take locks all the same, for processes that know more.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from outlive._system.arguments import check_seconds, checked_path, shown
from outlive._system.descriptor import open_into, opened, read_flags
from outlive._system.durability import synced_directory
from outlive._system.locks import believes, has_locks, lock

if TYPE_CHECKING:
    from outlive._system.descriptor import Descriptor

Identity = tuple[int, int]

SUFFIX = ".outlive-tmp"
#: Labels that are tried before a random one: as many writers of one destination have a short search.
LABELS = tuple(map(str, range(16)))
_LONGEST_NAME = 143  # bytes, the limit of eCryptfs; most file systems allow 255
_LONGEST_LABEL = 16  # bytes, of a number or a random label
_LONGEST_CHARACTER = 4  # bytes, in UTF-8
#: Bytes of a destination's name that its temporary's name can contain.
_ROOM = _LONGEST_NAME - len("..") - _LONGEST_LABEL - len(SUFFIX)
#: The temporary is gone, or may not be removed, or is deeper than Python's stack or the number of
#: descriptors.
NOT_REMOVED = (OSError, RecursionError)
_LOOKS = 20
_BETWEEN_LOOKS = 0.01  # seconds


def temporary_name(name: str, label: str) -> str:
    """Return the name of a destination's temporary; a long one is cut between characters."""
    while not is_short(name):
        name = name[:-1]
    return f".{name}.{label}{SUFFIX}"


def is_short(name: str) -> bool:
    """Return whether the name of a temporary can contain a destination's whole name."""
    if len(name) * _LONGEST_CHARACTER <= _ROOM or name.isascii():
        return len(name) <= _ROOM
    return len(os.fsencode(name)) <= _ROOM


def remove_orphans(
    directory: str | os.PathLike[str] = ".", *, older_than: float | None = None, dry_run: bool = False
) -> list[str]:
    """Remove the temporary files and directories that killed writers left in a directory.

    A write removes the orphans of its own destination. This function is for destinations that are not written
    again, such as names that contain a date. What a live process of this machine still writes stays, as long
    as its lock can be believed: on Linux, on local file systems. Elsewhere (network file systems, a chroot
    without /proc, macOS, Windows) nothing shows whether the writer lives, and all temporaries stay unless
    `older_than` is given. A server that exports a local directory does not see the locks of its clients: it
    must not write or tidy up in the directories that they write.

    Args:
        directory: The directory to search, without the directories in it.
        older_than: Seconds. Where locks are not believed, a temporary is removed if nothing in it changed for
            longer than that, by the clock of its file system. A live writer that is slower loses its work: it
            gets an error, and the destination stays as it was. So give more than any write takes. Where locks
            are believed, they decide, and this has no effect.
        dry_run: Whether the paths are only returned, and nothing is removed.

    Returns:
        The paths that were removed, sorted.

    Raises:
        TypeError: The directory is not a path, or `older_than` is not a number.
        ValueError: The directory is empty or an impossible name, or `older_than` is negative or too large.
        OSError: The directory cannot be read; or, with `older_than`, no file can be made in it, which shows
            the time of the file system.
    """
    directory = checked_path("directory", directory)
    check_seconds("older_than", older_than)
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        message = f"directory={shown(directory)} cannot be read ({error.strerror})"
        raise OSError(error.errno, message, directory) from error
    import re  # noqa: PLC0415 - takes longer than the rest of the import

    temporary = re.compile(r"\..+\.(?:[0-9]{1,2}|[0-9a-f]{16})" + re.escape(SUFFIX), re.DOTALL)
    paths = [os.path.join(directory, name) for name in names if temporary.fullmatch(name)]
    before = _time_of(directory) - int(older_than * 10**9) if older_than is not None and paths else None
    return [path for path in paths if remove_orphan(path, before=before, dry_run=dry_run)]


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
    """Remove a temporary if it is known that no live process writes it; return whether it was removed.

    A directory may be the old tree of an exchange that a killed process did not bring to the disk. The
    exchange is brought there first, or a power cut could bring back parts of the tree.

    Args:
        path: The temporary's path.
        before: Where locks are not believed, a temporary is an orphan if its last change was before that
            time, in ns.
        dry_run: Whether it stays, and is only judged.
    """
    if before is None and not has_locks():
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
    """Return whether no live process writes a temporary, by its lock, or else by its age."""
    directory = os.path.dirname(path)
    believed = believes(directory, os.stat(directory or os.curdir).st_dev)
    if believed:
        return lock(descriptor) is True
    # Where nothing shows what file system it is, writers take locks. Over a network they take none, and none
    # is tried here: over SMB it would keep a live writer from writing.
    if before is None or (believed is None and lock(descriptor) is False):
        return False
    return _last_change(path) < before


def _last_change(path: str) -> int:
    """Return the time in ns of the last change of a file, or of a directory and everything in it."""
    found = [os.lstat(path)]
    for top, directories, files in os.walk(path):
        found += [os.lstat(os.path.join(top, name)) for name in (*directories, *files)]
    return max(max(status.st_mtime_ns, status.st_ctime_ns) for status in found)


def remove_further(directory: str, name: str, labels: tuple[str, ...]) -> None:
    """Remove orphans under the next labels, up to a free one: several writers may have been killed."""
    for label in labels:
        path = os.path.join(directory, temporary_name(name, label))
        if not os.path.lexists(path):
            return
        remove_orphan(path)


def remove_replaced(path: str, old: os.stat_result) -> None:
    """Remove the old directory of an exchange that is on the disk; what cannot be removed stays.

    The process that published the new one may still hold the lock of the old one, while it brings the names
    to the disk.

    Args:
        path: The path of the old directory.
        old: Its status. A directory that has the path by now may be another, and the only copy of its
            content.
    """
    with suppress(*NOT_REMOVED):
        for _ in range(_LOOKS):
            if _removed(path, old):
                return
            time.sleep(_BETWEEN_LOOKS)


def _removed(path: str, old: os.stat_result) -> bool:
    """Remove a directory, unless another has its path by now; return False if its lock is taken."""
    if sys.platform == "win32":
        if identity_of(os.lstat(path)) == identity_of(old):
            remove(path, -1)
        return True
    descriptor = opened(path, read_flags())
    try:
        number = descriptor.fileno()
        if identity_of(os.fstat(number)) != identity_of(old):
            return True
        if believes(os.path.dirname(path), old.st_dev) is not False and lock(number) is False:
            return False
        remove(path, number)
    finally:
        descriptor.close()
    return True


def remove(path: str, number: int) -> None:
    """Remove a file, or a directory with everything in it; links in it are not followed.

    Args:
        path: The path.
        number: The directory's descriptor, so that another directory that has the path by now keeps its
            content. Not used on Windows.
    """
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
    elif sys.platform == "win32":
        from shutil import rmtree  # noqa: PLC0415 - keeps `import outlive` light

        rmtree(path)
    else:
        try:
            _empty(number)
        except PermissionError:  # a directory in it is read-only
            _empty(number, makes_writable=True)
        os.rmdir(path)


def _empty(where: int, *, makes_writable: bool = False) -> None:
    """Remove what is in an open directory; `os.fwalk` would lose descriptors to interrupts."""
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
    """Return what no other existing file has: the device and the inode."""
    return status.st_dev, status.st_ino
