"""`run_lock`: one run at a time, by a lock that the kernel releases when the process dies.

A file that says "a run is under way" outlives a killed run, and locks out every later one. Here the lock is
flock(2) on an open file. The content of the file only tells people which process holds it.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from outlive._system.arguments import checked_path, checked_string, shown
from outlive._system.descriptor import opened

from .checkpoints import DEFAULT_DIRECTORY
from .names import stem
from .store import make_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outlive._system.descriptor import Descriptor

_LONGEST_SHOWN = 1000  # bytes of a holder's description
_BEGINS = b"pid "  # each such description
_BETWEEN_LOOKS = 0.05  # seconds; flock itself has no time limit
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)


class AlreadyRunningError(RuntimeError):
    """Another run holds the lock; the message names its process, as far as its lock file shows it."""


@contextmanager
def run_lock(
    directory: str | os.PathLike[str] = DEFAULT_DIRECTORY, *, run_id: str = "", wait: bool | float = False
) -> Iterator[None]:
    """Let one run at a time into the body: one of all that name this directory and run id, on this machine.

    The lock is the kernel's (flock(2)), on the file `run.lock` in the directory, or `run.ID.lock`. It ends
    with the body, and with the process however that dies, by SIGKILL or a power cut as well: a file that is
    left over locks nobody out. The file is never removed, since a run that has just opened it would then hold
    a lock that the next run does not see. If it is removed by hand, or its directory, while a run is under
    way, another run gets in. While a run holds the lock, the file shows that run's command line to everybody
    who may read the directory.

    A program that is started from the body does not get the lock. A fork without exec, such as a worker of
    `multiprocessing` with "fork", shares it: if the run is killed, the lock lasts until its last worker has
    ended, as that worker may still write.

    Args:
        directory: The directory of the lock: that of the checkpoints. It is made if its own parent exists.
        run_id: The run's id, as for `Checkpoints`. Runs with different ids do not lock each other out.
        wait: What to do while another run holds the lock: False fails at once; True waits as long as it
            takes, which within the body itself is for ever; a number waits that many seconds.

    Returns:
        A context manager. Nothing is checked or made before it is entered. A second one in the same process,
        in any thread, is refused, or waits, like another process.

    Raises:
        AlreadyRunningError: Another run holds the lock, or held it for all the seconds to wait.
        TypeError: The directory is not a path, the id is not a string, or `wait` is not a number.
        ValueError: The directory is empty or an impossible name, or `wait` is negative or not a number.
        NotImplementedError: The platform has no flock.
        OSError: What stands at the path of the lock file was not made by outlive: a symbolic link, a file
            with another name (a hard link) or with other content, or something else than a regular file. Or
            the file cannot be opened, or its file system has no locks.
    """
    folder = os.path.abspath(checked_path("directory", directory))
    spelt = stem(checked_string("run_id", run_id))
    _check_wait(wait)
    make_directory(folder)
    # A stem contains no dot, so no id names another's lock, and no marker ends in ".lock".
    path = os.path.join(folder, f"run.{spelt}.lock" if run_id else "run.lock")
    process = os.getpid()
    file = _locked(path, wait)
    try:
        _describe(file.fileno())
        yield
    finally:
        try:
            if os.getpid() == process:  # a child that was forked in the body leaves it to its parent
                _release(file.fileno())
        finally:
            file.close()


def _check_wait(wait: object) -> None:
    if not isinstance(wait, bool | int | float):
        raise TypeError(f"wait={shown(wait)} is not True, False, or a number of seconds")
    try:
        is_time = float(wait) >= 0
    except OverflowError:
        is_time = False
    if not is_time:
        raise ValueError(f"wait={shown(wait)} is not a number of seconds that can be waited")


def _locked(path: str, wait: bool | float) -> Descriptor:  # noqa: FBT001 - as the public argument
    """Return a descriptor that holds the lock of the file at a path."""
    end = time.monotonic() + wait
    while True:
        file = _opened(path)
        try:
            _refuse_foreign(file.fileno(), path)
            while not _try_lock(file.fileno(), path, block=wait is True):
                left = end - time.monotonic()
                if left <= 0:
                    _refuse(file.fileno(), path, wait)
                time.sleep(min(_BETWEEN_LOOKS, left))
            if _stands_at(file.fileno(), path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # the file was removed meanwhile: nobody else sees its lock


def _opened(path: str) -> Descriptor:
    """Open the lock file. A link is not followed, and a pipe or a device does not block."""
    flags = os.O_RDWR | os.O_CREAT
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY"):
        flags |= getattr(os, name, 0)
    try:
        return opened(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _foreign(error.errno, path, "is a symbolic link") from error
        if error.errno in (errno.EISDIR, errno.ENXIO):  # the latter for a socket
            raise _foreign(error.errno, path, "is not a regular file") from error
        raise


def _refuse_foreign(descriptor: int, path: str) -> None:
    """Refuse a file that no lock made: the holder's description would overwrite its content.

    Raises:
        OSError: It is not a regular file, has another name, or has content that no holder wrote.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise _foreign(errno.EINVAL, path, "is not a regular file")
    if status.st_nlink > 1:
        raise _foreign(errno.EINVAL, path, "has another name (a hard link)")
    # The file is not fsynced: after a power cut zeros may stand in place of the description.
    content = os.pread(descriptor, _LONGEST_SHOWN, 0).rstrip(b"\0")
    if content and not content.startswith(_BEGINS):
        raise _foreign(errno.EINVAL, path, f"has content that outlive did not write ({shown(content)})")


def _foreign(code: int, path: str, what: str) -> OSError:
    folder, name = os.path.split(path)
    message = f"directory={folder!r}: its lock file {name} {what}; move it away, or give another directory"
    return OSError(code, message, path)


def _try_lock(descriptor: int, path: str, *, block: bool) -> bool:
    try:
        import fcntl  # noqa: PLC0415 - not on every platform
    except ImportError as error:
        raise NotImplementedError(f"run_lock needs flock, which {sys.platform} does not have") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if block else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        folder = os.path.dirname(path)
        message = (
            f"directory={folder!r} is on a file system without locks ({error.strerror}); "
            "give a directory on a local disk"
        )
        raise OSError(error.errno, message, path) from error
    return True


def _release(descriptor: int) -> None:
    import fcntl  # noqa: PLC0415 - not on every platform

    with suppress(OSError):
        os.ftruncate(descriptor, 0)  # nobody needs the command line any more
    # Explicitly, and not by closing: a forked child may share the open file.
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def _stands_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _describe(descriptor: int) -> None:
    """Write which process holds the lock, as far as possible: on a full disk the lock holds all the same."""
    import shlex  # noqa: PLC0415 - keeps `import outlive` light

    text = f"pid {os.getpid()} on {os.uname().nodename}: {shlex.join(sys.orig_argv)}"
    line = text.replace("\n", " ").encode("utf-8", "backslashreplace")[:_LONGEST_SHOWN] + b"\n"
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, line, 0)


def _refuse(descriptor: int, path: str, wait: float) -> None:
    content = os.pread(descriptor, _LONGEST_SHOWN, 0).decode("utf-8", "replace").strip()
    holder = content if content.isprintable() else repr(content)
    waited = f", and has for {wait:g} s" if wait else ""
    raise AlreadyRunningError(f"another run holds {path!r}{waited}: {holder or 'its process is not known'}")
