"""Calls that change a file's size, room or flags: truncate, fallocate, and requests of ioctl.

Sources: truncate(2), fallocate(2), ioctl(2), ioctl_iflags(2), loop(4).
"""

from __future__ import annotations

import errno
import os
import struct
import sys

from outlive_harness import abi
from outlive_harness.intercept.listener import Arguments
from outlive_harness.intercept.lookup import Found
from outlive_harness.intercept.memory import read_memory
from outlive_harness.intercept.task import descriptor_info
from outlive_harness.results.ops import Detail, Op

from .context import Context, Decode
from .writing import copy

#: Modes of fallocate(2) that file systems know; one that is not listed is taken to know all.
_FALLOCATE = {
    abi.TMPFS_MAGIC: abi.FALLOC_KEEP_SIZE | abi.FALLOC_PUNCH_HOLE,
    abi.BTRFS_SUPER_MAGIC: abi.FALLOC_KEEP_SIZE | abi.FALLOC_PUNCH_HOLE | abi.FALLOC_ZERO_RANGE,
    abi.EXT4_SUPER_MAGIC: abi.FALLOC_KEEP_SIZE
    | abi.FALLOC_PUNCH_HOLE
    | abi.FALLOC_ZERO_RANGE
    | abi.FALLOC_COLLAPSE_RANGE
    | abi.FALLOC_INSERT_RANGE,
}


def _truncate(run: Context, name: str, tid: int, a: Arguments) -> Op | None:
    if name == "ftruncate":
        found = run.by_fd(tid, a[0])
    else:
        found = run.by_address(tid, abi.AT_FDCWD, a[0], follow=True)
    if found.inside is None:
        return None
    detail = _through(run, tid, a[0], found, errno.EINVAL) if name == "ftruncate" else run.detail(found)
    return Op("truncate", name, found.inside, tid=tid, length=a[1], detail=detail)


def _through(run: Context, tid: int, fd: int, found: Found, code: int) -> Detail | None:
    """Return the status of the file behind a descriptor; one not open for writing fails with *code*."""
    if not run.wants_data:
        return None
    flags = descriptor_info(tid, fd)[1]
    return Detail(found.place.look(), opened=flags, fails=0 if flags & os.O_ACCMODE else code)


def _fallocate(run: Context, name: str, tid: int, a: Arguments) -> Op | None:
    found = run.by_fd(tid, a[0])
    return None if found.inside is None else _allocate(run, name, tid, found, a)


def _allocate(run: Context, name: str, tid: int, found: Found, a: Arguments) -> Op:
    """Return the op of any call that takes, or stands for, the arguments of fallocate(2)."""
    detail = _through(run, tid, a[0], found, errno.EBADF)
    if detail is not None and detail.seen is not None and not detail.fails:
        known = _FALLOCATE.get(run.file_system_of(detail.seen, found.place.where), ~0)
        if a[1] & ~known:
            detail = Detail(detail.seen, opened=detail.opened, fails=errno.EOPNOTSUPP)
    inside = found.inside or ""
    return Op("fallocate", name, inside, tid=tid, offset=a[2], length=a[3], flags=a[1], detail=detail)


def _ioctl(run: Context, name: str, tid: int, a: Arguments) -> Op | None:
    request = a[1] & 0xFFFFFFFF
    if request in (abi.FICLONE, abi.FICLONERANGE):
        return copy(run, name, tid, a)
    if request in (abi.LOOP_SET_FD, abi.LOOP_CHANGE_FD, abi.LOOP_CONFIGURE):
        configured = request == abi.LOOP_CONFIGURE  # its struct begins with the descriptor
        fd = int.from_bytes(read_memory(tid, a[2], 4), sys.byteorder) if configured else a[2]
        path = run.by_fd(tid, fd).inside
        if path is not None:
            run.blind[path, f"writes to {path} through a loop device were not seen"] = None
        return None
    found = run.by_fd(tid, a[0])
    if found.inside is None:
        return None
    if request in abi.FLAG_CHANGES:
        return Op("setflags", name, found.inside, tid=tid, detail=run.detail(found))
    if request in abi.RESERVATIONS:
        mode = abi.RESERVATIONS[request] | abi.FALLOC_KEEP_SIZE
        start, length = _reserved(tid, a, found)
        return None if start < 0 else _allocate(run, name, tid, found, (a[0], mode, start, length, 0, 0))
    reason = f"files changed by ioctl {request:#x}, which is not understood"
    run.blind["", reason] = None
    return None


def _reserved(tid: int, a: Arguments, found: Found) -> tuple[int, int]:
    """Return the (start, length) that a struct space_resv names; (-1, 0) if the call fails."""
    raw = read_memory(tid, a[2], 48)
    if len(raw) < 48:
        return -1, 0
    whence, start, length = struct.unpack_from("=2xh4xqq", raw)
    if whence == os.SEEK_CUR:
        start += descriptor_info(tid, a[0])[0]
    elif whence == os.SEEK_END:
        seen = found.place.look()
        start += seen.size if seen is not None else 0
    elif whence != os.SEEK_SET:
        return -1, 0
    return (start, length) if start >= 0 and length > 0 else (-1, 0)


CALLS: dict[str, Decode] = {
    **dict.fromkeys(("truncate", "ftruncate"), _truncate),
    "fallocate": _fallocate,
    "ioctl": _ioctl,
}
