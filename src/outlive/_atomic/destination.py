"""Where a result goes: a path is checked and resolved once, before anything is made."""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from outlive._system.arguments import shown
from outlive._system.descriptor import opened
from outlive._system.durability import close_directory, open_directory, sync_directory, synced_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal, TypeAlias

    from outlive._system.descriptor import Descriptor

    Durable: TypeAlias = Literal["full", "file", "none"]
    Identity: TypeAlias = tuple[int, int]

NO_NAME = ("", os.curdir, os.pardir)
_LEVELS = ("full", "file", "none")
_ALL_PERMISSIONS = 0o777


class Destination(NamedTuple):
    """A resolved destination: neither chdir nor a link that is changed later redirects it.

    Attributes:
        path: the path as it was given, for messages.
        target: the real path that is to be replaced.
        directory: the real path of its directory.
        name: the last part of the real path.
        old: the status of what stands there; None if nothing does.
        durable: what must survive a power cut.
        overwrite: whether what stands there may be replaced.
        names: the directory, open to be fsynced, or None. The caller who asked for the destination closes it.
        permissions: those of the new file; None keeps those of the old file, or leaves them to the umask.
    """

    path: str
    target: str
    directory: str
    name: str
    old: os.stat_result | None
    durable: str
    overwrite: bool
    names: Descriptor | None
    permissions: int | None = None

    @contextmanager
    def synced(self) -> Iterator[None]:
        """Bring to the disk what the body changes of the names in the directory, if that is wanted."""
        try:
            yield
            sync_directory(self.names, self.directory)
        finally:
            close_directory(self.names)


def file_destination(
    path: str,
    durable: str,
    *,
    overwrite: bool,
    parents: bool,
    known: dict[Identity | None, str] | None = None,
) -> Destination:
    """Resolve the destination of a file, or refuse it.

    Args:
        path: The path as it was given.
        durable: What must survive a power cut.
        overwrite: Whether an existing file may be replaced.
        parents: Whether missing directories are made.
        known: The real paths of directories that need not be opened or resolved again.

    Raises:
        OSError: As `atomic_open` documents.
    """
    parts = os.path.split(path)
    if parts[1] in NO_NAME:
        raise OSError(errno.EISDIR, f"destination={path!r} names a directory; give the path of a file", path)
    old, parts = _found(path, parts, overwrite=overwrite)
    if old is not None and not stat.S_ISREG(old.st_mode):
        if stat.S_ISDIR(old.st_mode):
            message = f"destination={path!r} is a directory; give the path of a file"
            raise OSError(errno.EISDIR, message, os.path.realpath(path))
        message = f"destination={path!r} is not a regular file, and replacing it would lose it"
        raise OSError(errno.EINVAL, message, os.path.realpath(path))
    at = identity(parts[0] or os.curdir) if known else None
    if known and at in known:
        directory, name = known[at], parts[1]
        target = os.path.join(directory, name)
        return Destination(path, target, directory, name, old, durable, overwrite, None)
    return _resolved(path, parts, old, durable, overwrite, parents=parents)


def directory_destination(path: str, durable: str, *, overwrite: bool, parents: bool) -> Destination:
    """Resolve the destination of a directory, or refuse it.

    Raises:
        OSError: As `atomic_directory` documents.
    """
    trimmed = path.rstrip(os.sep + (os.altsep or ""))
    parts = os.path.split(trimmed)
    if parts[1] in NO_NAME:
        message = f"destination={path!r} does not end in the name of a directory; give a path that does"
        raise OSError(errno.EINVAL, message, path)
    old, parts = _found(trimmed, parts, overwrite=overwrite)
    if old is not None and not stat.S_ISDIR(old.st_mode):
        message = f"destination={path!r} is not a directory, and replacing it would lose it"
        raise OSError(errno.ENOTDIR, message, os.path.realpath(trimmed))
    # The old tree is removed at the end: without that fsync a power cut could bring parts of it back.
    lasting = "full" if durable == "file" and old is not None else durable
    return _resolved(path, parts, old, lasting, overwrite, parents=parents)


def identity(directory: str) -> Identity | None:
    """Return the device and inode of a directory, whatever path leads to it; None if nothing is there."""
    try:
        status = os.stat(directory)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _found(
    path: str, parts: tuple[str, str], *, overwrite: bool
) -> tuple[os.stat_result | None, tuple[str, str]]:
    """Return what stands at a path, and the directory and name of it, or of the target if it is a link.

    Raises:
        FileExistsError: Something is there, and may not be replaced.
    """
    old = _status(os.lstat, path)
    if old is None:
        return None, parts
    if not overwrite:
        raise FileExistsError(errno.EEXIST, f"destination={path!r} exists, and overwrite=False", path)
    if not stat.S_ISLNK(old.st_mode):
        return old, parts
    old, target = _status(os.stat, path), _real_path(path, path)
    if old is not None and not old.st_nlink and identity(target) != (old.st_dev, old.st_ino):
        message = f"destination={path!r} leads to a file that was removed and is still open"
        raise FileNotFoundError(errno.ENOENT, message, path)
    return old, os.path.split(target)


def _real_path(path: str, of: str) -> str:
    """Return a real path, from the working directory of this process, whatever is mounted over it."""
    if os.path.isabs(of):
        return os.path.realpath(of)
    return os.path.realpath(os.path.join(real_directory(path, os.curdir, None), of))


def _status(look: Callable[[str], os.stat_result], path: str) -> os.stat_result | None:
    try:
        return look(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"destination={path!r} cannot be reached ({error.strerror})"
        raise OSError(error.errno, message, path) from error


def _resolved(
    path: str,
    parts: tuple[str, str],
    old: os.stat_result | None,
    durable: str,
    overwrite: bool,  # noqa: FBT001 - passed on
    *,
    parents: bool,
) -> Destination:
    directory, name = parts[0] or os.curdir, parts[1]
    if parents:
        directory = _real_path(path, directory)
        _make_parents(path, directory, durable)
    elif old is None:
        _require_parents(path, directory)
    try:
        names = open_directory(directory, durable)
    except PermissionError as error:  # a drop box: files may be made in it, and its names may not be read
        message = f"destination={path!r} is in a directory that may not be read, which its fsync requires"
        raise PermissionError(error.errno, f"{message}; give durable='file'", directory) from error
    try:
        directory = real_directory(path, directory, names)
    except BaseException:
        close_directory(names)
        raise
    return Destination(path, os.path.join(directory, name), directory, name, old, durable, overwrite, names)


def real_directory(path: str, directory: str, names: Descriptor | None) -> str:
    """Return a directory's real path: the kernel knows it, which is faster than resolving each part.

    Args:
        path: The destination, for the message.
        directory: A path of the directory.
        names: The directory, open; None opens it.

    Raises:
        OSError: No path leads there: the directory was removed, or lies under a mount.
    """
    if sys.platform != "linux":
        return os.path.realpath(directory)
    descriptor = opened(directory, os.O_PATH) if names is None else names
    try:
        number = descriptor.fileno()
        status = os.fstat(number)
        with suppress(OSError):  # there is no /proc
            if _leads_to(real := os.readlink(f"/proc/thread-self/fd/{number}"), status):
                return real
        if _leads_to(real := os.path.realpath(directory), status):
            return real
    except FileNotFoundError:  # the working directory was removed
        pass
    finally:
        if names is None:
            descriptor.close()
    message = (
        f"destination={path!r} is in a directory that no path leads to: it was removed, or lies under a mount"
    )
    raise FileNotFoundError(errno.ENOENT, message, directory)


def _leads_to(real: str, status: os.stat_result) -> bool:
    """Return whether a path leads to a directory: not after chroot, nor if it was removed or is covered."""
    return real.startswith("/") and identity(real) == (status.st_dev, status.st_ino)


def _make_parents(path: str, directory: str, durable: str) -> None:
    try:
        make_directories(directory, durable)
    except OSError as error:
        message = f"destination={path!r} has no directory, and none can be made ({error.strerror})"
        refused = OSError(error.errno, message, error.filename)
        vars(refused).update(vars(error))  # keeps `outlive_durability`
        raise refused from error


def _require_parents(path: str, directory: str) -> None:
    if not os.path.isdir(directory):  # also the directory that a link leads to
        message = (
            f"destination={path!r} is in a directory that does not exist; create it, or give parents=True"
        )
        raise FileNotFoundError(errno.ENOENT, message, directory)


def make_directories(directory: str, durable: str) -> None:
    """Make a directory and the missing ones above it; each name is on the disk before the next one is made.

    So of the existing directories only the lowest can be one that a killed run made and did not fsync. Its
    name is brought to the disk as well.

    Raises:
        OSError: A directory cannot be made, or its name cannot be brought to the disk.
    """
    missing = []
    while not os.path.isdir(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    if durable == "full":
        # No run with our rights made a directory in one that may not be opened.
        with suppress(PermissionError), synced_directory(os.path.dirname(directory), publishes=False):
            pass
    for one in reversed(missing):
        above = os.path.dirname(one)
        with synced_directory(above, durable=durable, publishes=False), suppress(FileExistsError):
            os.mkdir(one)


def checked_durable(value: object) -> str:
    """Return the level of durability.

    Raises:
        ValueError: The level is unknown.
    """
    levels = ", ".join(map(repr, _LEVELS))
    if isinstance(value, bool):
        advice = "'full'" if value else "'none'"
        raise ValueError(f"durable={value!r} is not one of {levels}; give {advice}")  # noqa: TRY004 - a wrong word
    if value not in _LEVELS:
        raise ValueError(f"durable={shown(value)} is not one of {levels}")
    return _LEVELS[_LEVELS.index(value)]  # not the value itself, which may be a member of an enumeration


def checked_permissions(value: object) -> int | None:
    """Return permissions.

    Raises:
        TypeError: The value is not a whole number.
        ValueError: The number is out of range.
    """
    if value is None:
        return None
    if type(value) is not int:
        raise TypeError(f"permissions={shown(value)} is not a whole number, such as 0o600")
    if not 0 <= value <= _ALL_PERMISSIONS:
        raise ValueError(f"permissions={value:#o} is not from 0 to {_ALL_PERMISSIONS:#o}")
    return value
