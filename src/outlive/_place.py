"""Where a result goes: a path is checked and resolved once, before anything is made."""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from ._descriptor import opened
from ._durable import close_names, open_names, sync_names, synced_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal, TypeAlias

    from ._descriptor import Descriptor

    Durable: TypeAlias = Literal["full", "file", "none"]
    Identity: TypeAlias = tuple[int, int]

NO_NAME = ("", os.curdir, os.pardir)
_LEVELS = ("full", "file", "none")
_ALL_PERMISSIONS = 0o777


class Place(NamedTuple):
    """A destination, resolved: a later chdir, or a link that is turned elsewhere, redirects nothing.

    Attributes:
        path: as it was given, for messages.
        target: the real path that is to be replaced.
        directory: where that is.
        name: its last part.
        old: what stands there; None if nothing does.
        durable: what must survive a power cut.
        overwrite: whether what stands there may be replaced.
        names: its directory, open to be fsynced, or None. Whoever asked for the place closes it.
        permissions: what a file is to have; None is what the old one has, or the umask leaves.
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
        """Bring to the disk what the body makes of the names in the directory, if that is wanted."""
        try:
            yield
            sync_names(self.names, self.directory)
        finally:
            close_names(self.names)


def file_place(
    path: str,
    durable: str,
    *,
    overwrite: bool,
    parents: bool,
    known: dict[Identity | None, str] | None = None,
) -> Place:
    """Resolve the destination of a file, or refuse it.

    Args:
        path: As it was given.
        durable: What must survive a power cut.
        overwrite: Whether a file that is there may be replaced.
        parents: Whether missing directories are made.
        known: The real paths of directories that need not be opened, nor resolved again.

    Raises:
        OSError: as `atomic_open` says.
    """
    parts = os.path.split(path)
    if parts[1] in NO_NAME:
        raise OSError(errno.EISDIR, f"destination={path!r} names a directory; give the path of a file", path)
    old, parts = _found(path, parts, overwrite=overwrite)
    if old is not None and not stat.S_ISREG(old.st_mode):
        if stat.S_ISDIR(old.st_mode):
            message = f"destination={path!r} is a directory; give the path of a file"
            raise OSError(errno.EISDIR, message, os.path.realpath(path))
        message = f"destination={path!r} is not a regular file and would be lost if it were replaced"
        raise OSError(errno.EINVAL, message, os.path.realpath(path))
    at = identity(parts[0] or os.curdir) if known else None
    if known and at in known:
        directory, name = known[at], parts[1]
        target = os.path.join(directory, name)
        return Place(path, target, directory, name, old, durable, overwrite, None)
    return _placed(path, parts, old, durable, overwrite, parents=parents)


def identity(directory: str) -> Identity | None:
    """Return what tells a directory from all others that are there, by whatever path; None if it is none."""
    try:
        status = os.stat(directory)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def directory_place(path: str, durable: str, *, overwrite: bool, parents: bool) -> Place:
    """Resolve the destination of a directory, or refuse it.

    Raises:
        OSError: as `atomic_directory` says.
    """
    trimmed = path.rstrip(os.sep + (os.altsep or ""))
    parts = os.path.split(trimmed)
    if parts[1] in NO_NAME:
        message = f"destination={path!r} names a directory without its name; give the path of one in another"
        raise OSError(errno.EINVAL, message, path)
    old, parts = _found(trimmed, parts, overwrite=overwrite)
    if old is not None and not stat.S_ISDIR(old.st_mode):
        message = f"destination={path!r} is not a directory and would be lost if it were replaced"
        raise OSError(errno.ENOTDIR, message, os.path.realpath(trimmed))
    # What is replaced is removed at the end: without that fsync a power cut could bring back its rest.
    lasting = "full" if durable == "file" and old is not None else durable
    return _placed(path, parts, old, lasting, overwrite, parents=parents)


def _found(
    path: str, parts: tuple[str, str], *, overwrite: bool
) -> tuple[os.stat_result | None, tuple[str, str]]:
    """Return what stands at a path, and its directory and name, those that a link leads to if it is one.

    Raises:
        FileExistsError: it may not be replaced.
    """
    old = _status(os.lstat, path)
    if old is None:
        return None, parts
    if not overwrite:
        raise FileExistsError(errno.EEXIST, f"destination={path!r} exists, and overwrite=False", path)
    if not stat.S_ISLNK(old.st_mode):
        return old, parts
    old, target = _status(os.stat, path), _resolved(path, path)
    if old is not None and not old.st_nlink and identity(target) != (old.st_dev, old.st_ino):
        message = f"destination={path!r} leads to a file that was removed and is still open"
        raise FileNotFoundError(errno.ENOENT, message, path)
    return old, os.path.split(target)


def _resolved(path: str, of: str) -> str:
    """Return a real path; from the working directory that we have, whatever is mounted over it."""
    return os.path.realpath(
        of if os.path.isabs(of) else os.path.join(real_directory(path, os.curdir, None), of)
    )


def _status(look: Callable[[str], os.stat_result], path: str) -> os.stat_result | None:
    try:
        return look(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"destination={path!r} cannot be reached ({error.strerror})"
        raise OSError(error.errno, message, path) from error


def _placed(
    path: str,
    parts: tuple[str, str],
    old: os.stat_result | None,
    durable: str,
    overwrite: bool,  # noqa: FBT001 - handed on
    *,
    parents: bool,
) -> Place:
    directory, name = parts[0] or os.curdir, parts[1]
    if parents:
        directory = _resolved(path, directory)
        _make_parents(path, directory, durable)
    elif old is None:
        _require_parents(path, directory)
    try:
        names = open_names(directory, durable)
    except PermissionError as error:  # a drop box: it takes files, and shows none
        message = f"destination={path!r} is in a directory that may not be read, as it takes to fsync it"
        raise PermissionError(error.errno, f"{message}; durable='file' does without", directory) from error
    try:
        directory = real_directory(path, directory, names)
    except BaseException:
        close_names(names)
        raise
    return Place(path, os.path.join(directory, name), directory, name, old, durable, overwrite, names)


def real_directory(path: str, directory: str, names: Descriptor | None) -> str:
    """Return a directory's real path: the kernel knows it, and need not be asked part by part.

    Args:
        path: The destination, for the message.
        directory: A path of the directory.
        names: The directory, open; None if it is to be opened.

    Raises:
        OSError: No path leads there: it was removed, or lies under a mount.
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
    except FileNotFoundError:  # our working directory was removed
        pass
    finally:
        if names is None:
            descriptor.close()
    message = (
        f"destination={path!r} is in a directory that no path leads to: it was removed, or lies under a mount"
    )
    raise FileNotFoundError(errno.ENOENT, message, directory)


def _leads_to(real: str, status: os.stat_result) -> bool:
    """Tell whether a path leads there; not so after a chroot, or if that was removed or is covered."""
    return real.startswith("/") and identity(real) == (status.st_dev, status.st_ino)


def _make_parents(path: str, directory: str, durable: str) -> None:
    try:
        make_directories(directory, durable)
    except OSError as error:
        message = f"destination={path!r} has no directory, and none can be made ({error.strerror})"
        refused = OSError(error.errno, message, error.filename)
        vars(refused).update(vars(error))  # that it was an fsync, if it was one
        raise refused from error


def _require_parents(path: str, directory: str) -> None:
    if not os.path.isdir(directory):  # also that which a link leads to
        message = f"destination={path!r} has no directory to be written in; create it first, or parents=True"
        raise FileNotFoundError(errno.ENOENT, message, directory)


def make_directories(directory: str, durable: str) -> None:
    """Make a directory and what is missing above it; each name is on the disk before there is one below.

    So of those that are there only the last may be one that a killed run made and did not fsync. Its
    name is brought to the disk too.

    Raises:
        OSError: One cannot be made, or its name not be brought to the disk.
    """
    missing = []
    while not os.path.isdir(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    if durable == "full":
        # Where the one above may not be opened, nobody like us made a directory.
        with suppress(PermissionError), synced_directory(os.path.dirname(directory), publishes=False):
            pass
    for one in reversed(missing):
        above = os.path.dirname(one)
        with synced_directory(above, durable=durable, publishes=False), suppress(FileExistsError):
            os.mkdir(one)


def checked_durable(value: object) -> str:
    """Return how durable something is to be, or refuse what is no such word."""
    if isinstance(value, bool):
        word = "'full'" if value else "'none'"
        message = f"durable={value!r} is not one of {', '.join(map(repr, _LEVELS))}; give {word}"
        raise ValueError(message)  # noqa: TRY004 - a wrong word, like any other
    if value not in _LEVELS:
        raise ValueError(f"durable={shown(value)} is not one of {', '.join(map(repr, _LEVELS))}")
    return _LEVELS[_LEVELS.index(value)]  # not value: an enumeration's member may be equal to its word


def checked_permissions(value: object) -> int | None:
    """Return permissions, or refuse what are none."""
    if value is None:
        return None
    if type(value) is not int:
        raise TypeError(f"permissions={shown(value)} is not a whole number, such as 0o600")
    if not 0 <= value <= _ALL_PERMISSIONS:
        raise ValueError(f"permissions={value:#o} is not from 0 to {_ALL_PERMISSIONS:#o}")
    return value


def checked_path(argument: str, value: object) -> str:
    """Return a path argument as a string, or refuse what no file system can name."""
    path = value if isinstance(value, str) else os.fspath(value) if isinstance(value, os.PathLike) else None
    if not isinstance(path, str):
        raise TypeError(f"{argument}={shown(value)} is not a path; give a str or a pathlib.Path")
    if not path:
        raise ValueError(f"{argument}={path!r} is empty; give a path")
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        raise ValueError(f"{argument}={path!r} cannot be the name of a file here") from error
    if "\0" in path:
        raise ValueError(f"{argument}={path!r} holds a NUL, which no file's name can")
    return path


def shown(value: object) -> str:
    """Return the start of a value's repr, for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
