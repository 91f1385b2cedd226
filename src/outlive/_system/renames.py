"""Renames that the standard library lacks: one that replaces nothing, and one that exchanges two names.

Sources: rename(2), renameat2 (Linux 3.15); rename(2) of macOS, renamex_np (10.12); MoveFileExW of Windows.
The code for macOS and Windows is tested with stand-ins, and was not run there.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_AT_FDCWD = -100
_NOREPLACE, _EXCHANGE = 1, 2  # of renameat2
_SWAP, _EXCL = 2, 4  # of renamex_np
_NUMBERS = {"x86_64": 316, "aarch64": 276}  # of renameat2, if the C library has no function for it
#: Errors by which an old kernel, a file system or a container's filter rejects an unknown flag.
_UNKNOWN = frozenset((errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM))
#: Windows: access denied, sharing violation, lock violation: a virus scanner or an indexer has the file open.
_SHARING = frozenset((5, 32, 33))
_PATIENCE = 2.0  # seconds


def replace(source: str, target: str) -> None:
    """Rename a file over another.

    On Windows this waits up to two seconds for readers that do not share the file. A copy would not be
    atomic.

    Raises:
        OSError: The operating system refuses; on Windows, for all of that time.
    """
    try:
        os.replace(source, target)
    except OSError as error:
        if getattr(error, "winerror", None) not in _SHARING:
            raise
        _patiently(lambda: os.replace(source, target))


def rename_new(source: str, target: str) -> None:
    """Rename a file or a directory to a free name.

    Without renameat2 a file is linked to the new name and unlinked from the old one. That is as safe, but a
    process that is killed in between leaves both names. A directory is renamed, which replaces at most an
    empty directory.

    Over NFS the answer to a link may be lost; the client then sends the request again, and it fails although
    the link was made (link(2), BUGS). So a target that is the file itself is not an error.

    Raises:
        FileExistsError: Something else has the name.
        OSError: The operating system refuses, or cannot do this.
    """
    if sys.platform == "win32":
        _patiently(lambda: os.rename(source, target))
    elif _renamed(source, target, _NOREPLACE, _EXCL):
        return
    elif os.path.isdir(source):
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        os.rename(source, target)
    else:
        try:
            os.link(source, target, follow_symlinks=False)
        except FileExistsError:
            if not _is_one_file(source, target):
                raise
        with suppress(FileNotFoundError):  # likewise, if the answer to an earlier unlink was lost
            os.unlink(source)


def exchange(one: str, other: str) -> bool:
    """Exchange what two names stand for, in one step; return False if the system has no such call.

    Raises:
        OSError: The operating system refuses.
    """
    return sys.platform != "win32" and _renamed(one, other, _EXCHANGE, _SWAP)


def _is_one_file(one: str, other: str) -> bool:
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except FileNotFoundError:
        return False


def _renamed(source: str, target: str, linux: int, macos: int) -> bool:
    """Rename with flags; return False if the system does not know the flags."""
    code = _call_rename(os.fsencode(source), os.fsencode(target), linux, macos)
    if code and code not in _UNKNOWN:
        raise OSError(code, os.strerror(code), source, None, target)
    return not code


def _call_rename(source: bytes, target: bytes, linux: int, macos: int) -> int:
    """Return the errno of the system's rename with flags, 0 for success."""
    import ctypes  # noqa: PLC0415 - takes longer than the rest of the import

    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        failed = libc.renameat2(_AT_FDCWD, source, _AT_FDCWD, target, ctypes.c_uint(linux))
    elif hasattr(libc, "renamex_np"):
        failed = libc.renamex_np(source, target, ctypes.c_uint(macos))
    elif sys.platform == "linux" and os.uname().machine in _NUMBERS:
        number = ctypes.c_long(_NUMBERS[os.uname().machine])
        at = ctypes.c_long(_AT_FDCWD)
        failed = libc.syscall(number, at, source, at, target, ctypes.c_ulong(linux))
    else:
        return errno.ENOSYS
    return ctypes.get_errno() if failed else 0


def _patiently(rename: Callable[[], None]) -> None:
    """Retry a rename for a bounded time while Windows reports that another process has the file open."""
    deadline, pause = time.monotonic() + _PATIENCE, 0.001
    while True:
        try:
            return rename()
        except OSError as error:
            if getattr(error, "winerror", None) not in _SHARING or time.monotonic() >= deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, 0.1)
