"""A torn write, made for real: a prefix of it reaches the file, and no more.

The writer's own descriptor is duplicated (pidfd_getfd(2)), so that offset, append mode and rights
are the writer's. The kernel itself tears a large write so when SIGKILL meets it half-way, or where
the disk is full.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Iterable

from outlive_harness.trace import WRITES, Content

from .decode import Arguments, Decoder, is_from_pipe
from .task import read_memory

_PIDFD_GETFD = 438  # the same on every architecture
_PIDFD_THREAD = os.O_EXCL  # pidfd_open(2), Linux 6.9
_libc = ctypes.CDLL(None, use_errno=True)


class _Prefix(Decoder):
    """Decodes a call with the first bytes of what it writes.

    Args:
        box: as Decoder takes it.
        length: how many bytes.
    """

    def __init__(self, box: bytes, length: int) -> None:
        super().__init__(box, data=True)
        self._length = length

    def _payload(self, parts: Iterable[bytes]) -> tuple[bytes | None, Content | None]:
        data = bytearray()
        for part in parts:
            data += part
            if len(data) >= self._length:
                break
        return bytes(data[: self._length]), None


def write_prefix(decoder: Decoder, call: tuple[int, int, int, Arguments], length: int) -> int:
    """Write the first bytes of the write or copy that a task stands before; return how many.

    None are written of a call that fails, or of which it is not known what it writes.

    Raises:
        OSError: its data or descriptor cannot be had, or not be written.
    """
    tid, number, audit, arguments = call
    op = _Prefix(decoder.box, length).op(tid, number, audit, arguments)
    if op is None or op.kind not in WRITES or op.detail is None or op.detail.fails:
        return 0
    if op.detail.target is not None and is_from_pipe(op.syscall, op.detail.target):
        return _splice(tid, arguments, length)
    if not op.data:
        return 0
    is_copy = op.kind == "copy"
    fd = _duplicate(tid, arguments[2] if op.syscall in ("copy_file_range", "splice") else arguments[0])
    try:
        if is_copy:
            return os.pwrite(fd, op.data, op.offset)
        if not op.syscall.startswith("pw"):
            return os.write(fd, op.data)
        # At the call's own place and with its own flags, so that what appends does so here.
        return os.pwritev(fd, [op.data], ctypes.c_long(arguments[3]).value, op.detail.how)
    finally:
        os.close(fd)


def _splice(tid: int, arguments: Arguments, length: int) -> int:
    """Move so much of what is in a pipe now; what is still to come into it stays out."""
    out = _duplicate(tid, arguments[2])
    try:
        source = _duplicate(tid, arguments[0])
        try:
            at = int.from_bytes(read_memory(tid, arguments[3], 8), sys.byteorder) if arguments[3] else None
            return os.splice(source, out, length, offset_dst=at, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return 0
        finally:
            os.close(source)
    finally:
        os.close(out)


def _duplicate(tid: int, fd: int) -> int:
    """Return a duplicate of a thread's descriptor; the others of its process may have another table.

    Raises:
        OSError: There is none to be had.
    """
    fd &= 0xFFFFFFFF
    try:
        pidfd = os.pidfd_open(tid, _PIDFD_THREAD)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        pidfd = os.pidfd_open(_leader(tid))  # before Linux 6.9
    try:
        got = int(_libc.syscall(_PIDFD_GETFD, pidfd, ctypes.c_int(fd), 0))
        code = ctypes.get_errno()
    finally:
        os.close(pidfd)
    if got < 0:
        raise OSError(code, f"pidfd_getfd: {os.strerror(code)}")
    if not os.path.samestat(os.fstat(got), os.stat(f"/proc/{tid}/fd/{fd}")):
        os.close(got)
        raise OSError(errno.EBADF, "the thread's descriptors are not those of its process")
    return got


def _leader(tid: int) -> int:
    with open(f"/proc/{tid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Tgid:"))
