"""Inode flags that a program may set, such as ``chattr +d`` (ioctl_iflags(2))."""

from __future__ import annotations

import os
import struct

from outlive_harness import abi

#: Flags that forbid changes: a box with them could not be filled or removed.
FIXED = abi.FS_IMMUTABLE_FL | abi.FS_APPEND_FL
_KEPT = (
    abi.FS_SYNC_FL
    | abi.FS_NODUMP_FL
    | abi.FS_NOATIME_FL
    | abi.FS_NOTAIL_FL
    | abi.FS_DIRSYNC_FL
    | abi.FS_NOCOW_FL
    | abi.FS_COMPR_FL
)


def flags_of(path: str | os.PathLike[str]) -> int:
    """Return the flags of a file or directory that distinguish crash states; 0 for a link."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return get_flags(fd) & (_KEPT | FIXED)
    finally:
        os.close(fd)


def copy_flags(source: str, target: str) -> None:
    """Give a copy the flags of its source, except those that forbid changes."""
    wanted = flags_of(source) & _KEPT
    if not wanted:
        return
    fd = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        set_flags(fd, get_flags(fd) | wanted)
    finally:
        os.close(fd)


def get_flags(fd: int) -> int:
    """Return all flags of the file behind a descriptor; 0 if its file system has none."""
    try:
        import fcntl  # noqa: PLC0415 - not on Windows

        (flags,) = struct.unpack("l", fcntl.ioctl(fd, abi.FS_IOC_GETFLAGS, struct.pack("l", 0)))
    except (OSError, ImportError):
        return 0
    return int(flags)


def set_flags(fd: int, flags: int) -> None:
    """Set the flags of the file behind a descriptor; do nothing if this is not permitted or supported."""
    try:
        import fcntl  # noqa: PLC0415 - as above

        fcntl.ioctl(fd, abi.FS_IOC_SETFLAGS, struct.pack("l", flags))
    except (OSError, ImportError):
        return
