"""Flags of an inode that a program may set, such as ``chattr +d``; source: ioctl_iflags(2)."""

from __future__ import annotations

import os
import struct

#: FS_IOC_GETFLAGS and FS_IOC_SETFLAGS of ``linux/fs.h``.
GET, SET = 0x80086601, 0x40086602
#: FS_IMMUTABLE_FL and FS_APPEND_FL: nobody could lay out or remove a box with them.
FIXED = 0x10 | 0x20
#: FS_SYNC_FL, FS_NODUMP_FL, FS_NOATIME_FL, FS_NOTAIL_FL, FS_DIRSYNC_FL, FS_NOCOW_FL, FS_COMPR_FL.
_KEPT = 0x8 | 0x40 | 0x80 | 0x8000 | 0x10000 | 0x800000 | 0x4


def flags_of(path: str | os.PathLike[str]) -> int:
    """Return the flags of a file or directory by which crash states differ; 0 for a link."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return get_flags(fd) & (_KEPT | FIXED)
    finally:
        os.close(fd)


def copy_flags(source: str, target: str) -> None:
    """Give a copy the flags of its source, but for those that forbid changes."""
    wanted = flags_of(source) & _KEPT
    if not wanted:
        return
    fd = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        set_flags(fd, get_flags(fd) | wanted)
    finally:
        os.close(fd)


def get_flags(fd: int) -> int:
    """Return all flags behind a descriptor; 0 where its file system knows none."""
    try:
        import fcntl  # noqa: PLC0415 - there is none on Windows

        (flags,) = struct.unpack("l", fcntl.ioctl(fd, GET, struct.pack("l", 0)))
    except (OSError, ImportError):
        return 0
    return int(flags)


def set_flags(fd: int, flags: int) -> None:
    """Set the flags behind a descriptor; nothing happens where this process or the file system may not."""
    try:
        import fcntl  # noqa: PLC0415 - as above

        fcntl.ioctl(fd, SET, struct.pack("l", flags))
    except (OSError, ImportError):
        return
