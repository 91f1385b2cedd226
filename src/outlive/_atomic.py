"""Whole files or none: a temporary file, brought to the disk, then renamed over the destination.

The order of the system calls is the whole of it: write, flush, fchmod, fsync, close, rename, fsync of
the directory. Each step that is left out loses data on some file system: T. S. Pillai et al., "All
File Systems Are Not Created Equal", OSDI 2014 (the ALICE study); rename(2) and fsync(2).
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from _thread import allocate_lock
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from tempfile import _TemporaryFileWrapper
    from typing import BinaryIO, Literal, TextIO

_SUFFIX = ".outlive-tmp"
_LONGEST_NAME = 255  # bytes, NAME_MAX of Linux and macOS
_RANDOM_PART = 8  # characters that tempfile puts between prefix and suffix
_MODES = ("w", "wt", "wb")
_NEWLINES = (None, "", "\n", "\r", "\r\n")
_NO_DIRECTORY_FSYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)

_umask_lock = allocate_lock()


def atomic_write(
    destination: str | os.PathLike[str],
    data: str | bytes | bytearray | memoryview,
    *,
    encoding: str | None = None,
    newline: str | None = None,
    durable: bool = True,
) -> None:
    r"""Replace a file's content as a whole: a reader, or a crash, finds the old content or the new.

    Args:
        destination: The file to write. All that `atomic_open` says of it holds.
        data: The whole new content: text, or bytes.
        encoding: Of text; None is UTF-8. Bytes take none.
        newline: What a `"\n"` in text becomes, as for `open`. Bytes take none.
        durable: Whether the new content must survive a power cut once this returns.

    Raises:
        TypeError: The data are neither text nor bytes, or the destination is no path.
        ValueError: The destination is empty or no possible name, or an option is wrong or out of place.
        OSError: As for `atomic_open`.
    """
    if not isinstance(data, str | bytes | bytearray | memoryview):
        raise TypeError(f"data={shown(data)} is neither text nor bytes")
    mode = "w" if isinstance(data, str) else "wb"
    with atomic_open(  # type: ignore[call-overload]  # an encoding for bytes is refused there, in words
        destination, mode, encoding=encoding, newline=newline, durable=durable
    ) as file:
        file.write(data)


@overload
def atomic_open(
    destination: str | os.PathLike[str],
    mode: Literal["w", "wt"] = "w",
    *,
    encoding: str | None = None,
    newline: str | None = None,
    durable: bool = True,
) -> AbstractContextManager[TextIO]: ...
@overload
def atomic_open(
    destination: str | os.PathLike[str],
    mode: Literal["wb"],
    *,
    durable: bool = True,
) -> AbstractContextManager[BinaryIO]: ...
@contextmanager
def atomic_open(
    destination: str | os.PathLike[str],
    mode: str = "w",
    *,
    encoding: str | None = None,
    newline: str | None = None,
    durable: bool = True,
) -> Iterator[Any]:
    r"""Open a file that takes its place as a whole: all of what the body writes, or nothing.

    The body writes a temporary file beside the destination, `.NAME.RANDOM.outlive-tmp`. When the body
    ends, that file is flushed, given its permissions, brought to the disk and renamed over the
    destination. An exception in the body, Ctrl-C included, leaves the destination as it was and no
    temporary file; only a process that is killed leaves one.

    A new file gets the permissions that `open` would have given it (the umask's); one that replaces
    another gets the other's read, write and execute bits. Owner, access lists and extended attributes
    are those of a new file, and further hard links to the old file keep the old content. Writing asks
    permission of the directory, as every rename does, and not of the file.

    A symbolic link is followed: the file that it names is replaced, and the link stays. The path is
    resolved once, on entry to the body; a later chdir redirects nothing.

    An fsync that fails is an error and is never tried again: after it the kernel may have dropped the
    data and call the next fsync a success (PostgreSQL's "fsyncgate", 2018). On macOS, fsync hands the
    data to the drive, which may hold them in its cache.

    Args:
        destination: The file to write. Its directory must exist.
        mode: "w" or "wt" for text, "wb" for bytes.
        encoding: Of text; None is UTF-8. Bytes take none.
        newline: What a `"\n"` becomes in text, as for `open`. Bytes take none.
        durable: Whether the new content must survive a power cut once the body has ended. False skips
            both fsyncs: it stays atomic for readers and crashes of the process, and is faster.

    Returns:
        A context manager that gives the open file. Nothing is checked or made before it is entered.

    Raises:
        TypeError: The destination is no path.
        ValueError: The destination is empty or no possible name, an option is wrong or out of place, or
            the body has closed the file.
        FileNotFoundError: The destination's directory does not exist; `filename` says which.
        IsADirectoryError: The destination is a directory.
        PermissionError: No file can be made in the destination's directory.
        OSError: The destination is a pipe or a device, or the operating system refuses for a reason of
            its own. If `filename` is the destination's directory and the message says that the change
            was made, only the last fsync failed.
    """
    path = checked_path("destination", destination)
    text_options = _checked_text_options(mode, encoding, newline)
    target, permissions = _resolve(path)
    # The directory is opened first: one that cannot be fsynced is found before anything is replaced.
    with synced_directory(os.path.dirname(target)) if durable else nullcontext():
        temporary = _make_temporary(path, target, mode, text_options)
        try:
            yield temporary.file
            _finish(temporary, permissions, durable=durable)
        except BaseException as error:
            _give_up(temporary, path, error)
            raise
        try:
            os.replace(temporary.name, target)
        except OSError as error:
            _give_up(temporary, path, error)
            raise
        # From here on the temporary name may be another's: it is not touched again.


def _checked_text_options(mode: str, encoding: str | None, newline: str | None) -> dict[str, str | None]:
    if mode not in _MODES:
        raise ValueError(f"mode={shown(mode)} is not one of {', '.join(map(repr, _MODES))}")
    if mode == "wb":
        for name, value in (("encoding", encoding), ("newline", newline)):
            if value is not None:
                raise ValueError(f"{name}={shown(value)} is for text, and bytes are written")
        return {}
    if newline not in _NEWLINES:
        raise ValueError(f"newline={shown(newline)} is not one of {', '.join(map(repr, _NEWLINES))}")
    try:
        "a".encode("utf-8" if encoding is None else encoding)
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"encoding={shown(encoding)} is not the name of a text encoding") from error
    return {"encoding": "utf-8" if encoding is None else encoding, "newline": newline}


def _resolve(path: str) -> tuple[str, int]:
    """Return the real path to replace and the permissions of the new file, or refuse the destination."""
    directory, name = os.path.split(path)
    if name in ("", os.curdir, os.pardir):
        raise OSError(errno.EISDIR, f"destination={path!r} names a directory; give the path of a file", path)
    target = os.path.realpath(path)
    try:
        old = os.stat(path)
    except FileNotFoundError:
        # Both, for a link may point into a directory that does not exist.
        for parent in (directory or os.curdir, os.path.dirname(target)):
            if not os.path.isdir(parent):
                message = f"destination={path!r} has no directory to be written in; create it first"
                raise FileNotFoundError(errno.ENOENT, message, parent) from None
        return target, 0o666 & ~_current_umask()
    except OSError as error:
        message = f"destination={path!r} cannot be reached ({error.strerror})"
        raise OSError(error.errno, message, path) from error
    if stat.S_ISDIR(old.st_mode):
        raise OSError(errno.EISDIR, f"destination={path!r} is a directory; give the path of a file", target)
    if not stat.S_ISREG(old.st_mode):
        message = f"destination={path!r} is not a regular file and would be lost if it were replaced"
        raise OSError(errno.EINVAL, message, target)
    return target, old.st_mode & 0o777


def _current_umask() -> int:
    """Return the umask without a moment in which it is another: other threads make files too."""
    with suppress(OSError), open("/proc/thread-self/status", "rb") as status:
        for line in status:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    # No Linux, or no /proc: the umask can only be read by setting it, for that moment to the strictest.
    with _umask_lock:
        umask = os.umask(0o077)
        os.umask(umask)
    return umask


def _make_temporary(
    path: str, target: str, mode: str, text_options: dict[str, str | None]
) -> _TemporaryFileWrapper[Any]:
    from tempfile import NamedTemporaryFile  # noqa: PLC0415 - more than the rest of the import together

    parent, name = os.path.split(target)
    room = _LONGEST_NAME - len("..") - _RANDOM_PART - len(_SUFFIX)
    while len(os.fsencode(name)) > room:
        name = name[:-1]
    options: dict[str, Any] = {"dir": parent, "prefix": f".{name}.", "suffix": _SUFFIX, "delete": False}
    try:
        return NamedTemporaryFile(mode, **options, **text_options)  # type: ignore[call-overload, no-any-return]
    except OSError as error:
        message = (
            f"destination={path!r} cannot be written: its directory takes no new file ({error.strerror})"
        )
        raise OSError(error.errno, message, parent) from error


def _finish(temporary: _TemporaryFileWrapper[Any], permissions: int, *, durable: bool) -> None:
    """Bring content and permissions to the disk, under the temporary name."""
    if temporary.file.closed:
        raise ValueError("the body closed the file, so that it can no longer be brought to the disk")
    temporary.file.flush()
    descriptor = temporary.file.fileno()
    if hasattr(os, "fchmod"):  # from 3.13 on also on Windows
        os.fchmod(descriptor, permissions)
    if durable:
        os.fsync(descriptor)
    temporary.close()


def _give_up(temporary: _TemporaryFileWrapper[Any], path: str, error: BaseException) -> None:
    # Closing writes what is still buffered, and may fail as the body did: the first error is the one to tell.
    with suppress(OSError, ValueError):
        temporary.close()
    with suppress(OSError):
        os.unlink(temporary.name)
    error.add_note(f"destination={path!r} was not written")


@contextmanager
def synced_directory(directory: str) -> Iterator[None]:
    """Bring to the disk what the body makes, renames or removes in a directory.

    Names are a directory's content: a file's own fsync does not make its name last (fsync(2)).

    Raises:
        OSError: The directory cannot be opened, and the body has not run; or its fsync failed, after
            the body. A file system that has no fsync of directories is no error.
    """
    if sys.platform == "win32":  # has no fsync of a directory
        yield
        return
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        message = f"the directory cannot be opened to be fsynced ({error.strerror})"
        raise OSError(error.errno, message, directory) from error
    try:
        yield
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_DIRECTORY_FSYNC:
                message = f"the change was made, but a power cut may undo it: fsync failed ({error.strerror})"
                raise OSError(error.errno, message, directory) from error
    finally:
        os.close(descriptor)


def checked_path(argument: str, value: object) -> str:
    """Return a path argument as a string, or refuse what no file system can name."""
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str):
        raise TypeError(f"{argument}={shown(value)} is not a path; give a str or a pathlib.Path")
    if not path:
        raise ValueError(f"{argument}={path!r} is empty; give a path")
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError as error:
        raise ValueError(f"{argument}={path!r} cannot be the name of a file here") from error
    if b"\0" in encoded:
        raise ValueError(f"{argument}={path!r} holds a NUL, which no file's name can")
    return path


def shown(value: object) -> str:
    """Return the start of a value's repr, for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
