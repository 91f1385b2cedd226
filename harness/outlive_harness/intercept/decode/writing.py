"""Calls that put bytes into a file: writes, and copies between descriptors.

Sources: write(2), pwritev2(2), sendfile(2), copy_file_range(2), splice(2), ioctl_ficlonerange(2).
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from outlive_harness import abi
from outlive_harness.intercept.listener import Arguments
from outlive_harness.intercept.memory import read_iovecs, read_memory, read_parts
from outlive_harness.intercept.task import behind, descriptor_info, descriptor_path, open_source, read_file
from outlive_harness.results.ops import Content, Detail, Op, Seen

from .context import Context, Decode

#: File systems in which files can share blocks (ioctl_ficlone(2)).
_CLONING = frozenset(
    {abi.BTRFS_SUPER_MAGIC, abi.XFS_SUPER_MAGIC, abi.BCACHEFS_SUPER_MAGIC, abi.OCFS2_SUPER_MAGIC}
)
#: The offset by which pwritev2(2) means the descriptor's own.
_CURRENT = (1 << 64) - 1


def _write(run: Context, name: str, tid: int, a: Arguments) -> Op | None:
    if not run.wants_places:
        inside = run.name_by_fd(tid, a[0])
        if inside is None or run.is_pipe(tid, a[0]):
            return None
        length = sum(size for _, size in read_iovecs(tid, a[1], a[2])) if "v" in name else a[2]
        return Op("write", name, inside, "", tid, 0, length)
    found = run.by_fd(tid, a[0])
    if found.inside is None or run.is_pipe(tid, a[0]):
        return None
    parts = read_iovecs(tid, a[1], a[2]) if "v" in name else [(a[1], a[2])]
    length = sum(size for _, size in parts)
    position, flags = descriptor_info(tid, a[0])
    how = a[5] if name == "pwritev2" else 0
    if name.startswith("pw") and not (name == "pwritev2" and a[3] == _CURRENT):
        position = a[3]
    if (flags & os.O_APPEND and not how & abi.RWF_NOAPPEND) or how & abi.RWF_APPEND:
        position = -1
    seen = found.place.look() if run.wants_data or position < 0 else None
    end = seen.size if seen is not None and position < 0 else -1
    if not run.wants_data:
        return Op("write", name, found.inside, "", tid, position, length, flags, begin=end)
    unknown = ""
    data: bytes | None = None
    blob: Content | None = None
    fails = 0 if flags & os.O_ACCMODE else errno.EBADF
    try:
        data, blob = run.payload(read_parts(tid, parts))
    except OSError as error:
        unknown = f"its memory could not be read: {error.strerror or error}"
    detail = Detail(seen, opened=flags, how=how, blob=blob, fails=fails, unknown=unknown)
    return Op("write", name, found.inside, "", tid, position, length, flags, 0, data, detail, end)


def copy(run: Context, name: str, tid: int, a: Arguments) -> Op | None:
    """Decode a copy between descriptors; ``ioctl`` means a clone."""
    out = {"sendfile": a[0], "ioctl": a[0]}.get(name, a[2])
    found = run.by_fd(tid, out)
    if found.inside is None or run.is_pipe(tid, out):
        return None
    position, flags = descriptor_info(tid, out)
    source, start, length, position = _range(name, tid, a, position)
    origin = os.fsdecode(descriptor_path(tid, source))
    there = behind(tid, source).look()
    begin = start
    if there is None or not stat.S_ISREG(there.mode):
        # How much a pipe holds is known when it is read; of any other source nothing is known.
        length = min(length, abi.MAX_RW_COUNT) if there is not None and is_from_pipe(name, there) else 0
    else:
        if begin < 0:
            begin = descriptor_info(tid, source)[0]
        rest = max(0, there.size - begin)
        length = rest if name == "ioctl" and not length else min(length, abi.MAX_RW_COUNT, rest)
    if not run.wants_data:
        return Op("copy", name, found.inside, origin, tid, position, length, flags, begin=begin)
    data: bytes | None = None
    blob: Content | None = None
    seen = found.place.look()
    fails, unknown = _can_copy(run, name, flags, seen, there, found.place.where)
    if not fails and not unknown:
        try:
            fd = open_source(tid, source)
            try:
                data, blob = run.payload(read_file(fd, begin, length))
            finally:
                os.close(fd)
        except OSError as error:
            unknown = f"{origin} could not be read: {error.strerror or error}"
    detail = Detail(seen, there, opened=flags, blob=blob, fails=fails, unknown=unknown)
    return Op("copy", name, found.inside, origin, tid, position, length, flags, 0, data, detail, begin)


def _range(name: str, tid: int, a: Arguments, position: int) -> tuple[int, int, int, int]:
    """Return source descriptor, source offset (-1: its own), length and target offset of a copy."""
    if name == "ioctl":
        source, start, length, position = _clone(tid, a)
    elif name == "sendfile":
        source, start, length = a[1], _offset(tid, a[2], -1), a[3]
    else:
        source, start, length, position = a[0], _offset(tid, a[1], -1), a[4], _offset(tid, a[3], position)
    return source & 0xFFFFFFFF, start, length, position


def _can_copy(
    run: Context, name: str, flags: int, seen: Seen | None, there: Seen | None, where: bytes
) -> tuple[int, str]:
    """Return the errno with which a copy fails, or else why its bytes cannot be known; (0, "") if neither."""
    needs_files = name in ("copy_file_range", "ioctl")
    if seen is None or there is None or not flags & os.O_ACCMODE:
        return errno.EBADF, ""
    if flags & os.O_APPEND:
        return errno.EINVAL, ""  # none of these calls appends
    if not stat.S_ISREG(there.mode):
        why = "it copies from a pipe, socket or device: that is read only once"
        return errno.EINVAL if needs_files else 0, why
    if needs_files and seen.dev != there.dev:
        return errno.EXDEV, ""
    if name == "ioctl" and run.file_system_of(seen, where) not in _CLONING:
        return errno.EOPNOTSUPP, ""
    return 0, ""


def is_from_pipe(name: str, source: Seen) -> bool:
    """Return whether a copy takes its bytes from a pipe."""
    return name == "splice" and stat.S_ISFIFO(source.mode)


def _offset(tid: int, pointer: int, otherwise: int) -> int:
    """Read an offset that a call takes by reference; without a reference the descriptor's own counts."""
    try:
        raw = read_memory(tid, pointer, 8) if pointer else b""
    except OSError:
        raw = b""  # the call fails
    return int.from_bytes(raw, "little", signed=True) if len(raw) == 8 else otherwise


def _clone(tid: int, a: Arguments) -> tuple[int, int, int, int]:
    """Return source descriptor, source offset, length (0: to the end) and target offset of a clone."""
    if a[1] & 0xFFFFFFFF == abi.FICLONE:
        return a[2], 0, 0, 0
    try:
        source, start, length, position = struct.unpack("=qQQQ", read_memory(tid, a[2], 32))
    except (OSError, struct.error):
        return -1, 0, 0, 0  # the call fails
    return source, start, length, position


CALLS: dict[str, Decode] = {
    **dict.fromkeys(("write", "pwrite64", "writev", "pwritev", "pwritev2"), _write),
    **dict.fromkeys(("sendfile", "copy_file_range", "splice"), copy),
}
