"""Removing trees, whatever modes and flags the pipeline left."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

from .flags import FIXED, get_flags, set_flags
from .mounts import below

#: Directories that are removed from the inside out: each nested one takes a descriptor.
_DEEP = 100
#: Flags that open a directory, and no link to one.
_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


def remove_tree(root: Path) -> None:
    """Remove a directory and all in it, whatever modes the pipeline left; do nothing if it is absent.

    The tree is walked by descriptors, and no link is followed, so nothing outside it is touched: no mode
    above *root*, and no target of a link.

    Raises:
        OSError: a file system is mounted in it, and nothing was touched; or it cannot be removed: it is a
            link or a file, a process still writes there, ...
    """
    try:
        fd = open_directory(root)
    except FileNotFoundError:
        return
    try:
        if mounted := below(fd):
            why = "a file system is mounted there, whose files would be lost; unmount it"
            raise OSError(errno.EBUSY, why, mounted[0].point)
        empty_directory(fd)
        try:
            os.rmdir(root)
        except PermissionError:
            _open_up(fd)
            os.rmdir(root)
    finally:
        os.close(fd)


def open_directory(path: str | Path, *, within: int | None = None) -> int:
    """Open a directory of this process's user, whatever its mode, but not a link to one.

    Args:
        path: its path.
        within: a descriptor of the directory that a relative path begins at.

    Raises:
        OSError: there is no directory, it is a link, or it cannot be opened.
    """
    try:
        return os.open(path, _DIRECTORY, dir_fd=within)
    except PermissionError:
        if not hasattr(os, "O_PATH"):
            raise
    # The owner may change its mode, but not by a name, which may change, nor by a descriptor that reads it.
    known = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
    try:
        os.chmod(f"/proc/self/fd/{known}", 0o700)
        return os.open(".", _DIRECTORY, dir_fd=known)
    finally:
        os.close(known)


def empty_directory(fd: int, *, spared: str = "") -> None:
    """Remove all files in the directory behind a descriptor, except one name.

    Raises:
        OSError: a file in it cannot be removed.
    """
    while not _empty(fd, fd, spared):
        pass


def _empty(fd: int, top: int, spared: str = "", depth: int = 0) -> bool:
    """Empty a directory; return False if a directory too deep in it was moved up to *top*."""
    with os.scandir(fd) as listing:
        items = [(item.name, item.is_dir(follow_symlinks=False)) for item in listing]
    is_whole = True
    for name, is_directory in items:
        if not is_directory:
            if name != spared or depth:
                _remove(name, fd)
            continue
        try:
            below_it = open_directory(name, within=fd)
        except FileNotFoundError:
            continue
        try:
            if depth < _DEEP:
                is_whole &= _empty(below_it, top, depth=depth + 1)
                _remove(name, fd, below_it)
            else:
                _open_up(fd)
                _open_up(below_it)
                os.rename(name, secrets.token_hex(8), src_dir_fd=fd, dst_dir_fd=top)
                is_whole = False
        finally:
            os.close(below_it)
    return is_whole


def _remove(name: str, within: int, directory: int | None = None) -> None:
    """Remove a name; *directory* is a descriptor if it names an empty directory."""
    remove = os.unlink if directory is None else os.rmdir
    try:
        remove(name, dir_fd=within)
    except FileNotFoundError:
        pass
    except PermissionError:  # the mode of its directory, or flags set by chattr(1)
        _open_up(within)
        _make_mutable_at(name, within) if directory is None else _make_mutable(directory)
        with contextlib.suppress(FileNotFoundError):
            remove(name, dir_fd=within)


def _open_up(directory: int) -> None:
    """Let a directory's owner remove the files in it."""
    _make_mutable(directory)
    with contextlib.suppress(OSError):
        os.fchmod(directory, 0o700)


def _make_mutable_at(name: str, within: int) -> None:
    with contextlib.suppress(OSError):
        if not stat.S_ISREG(os.stat(name, dir_fd=within, follow_symlinks=False).st_mode):
            return  # opening a device can have any effect
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=within)
        try:
            _make_mutable(fd)
        finally:
            os.close(fd)


def _make_mutable(fd: int) -> None:
    """Clear the flags that `chattr +i` and `+a` set (ioctl_iflags(2))."""
    flags = get_flags(fd)
    if flags & FIXED:
        set_flags(fd, flags & ~FIXED)
