"""A torn write, made for real: a prefix of it reaches the file, and then the writer dies.

The writer's own descriptor is duplicated (pidfd_getfd(2)), so that offset, append mode and rights
are the writer's. The kernel itself tears a large write so when SIGKILL meets it half-way.
"""

from __future__ import annotations

import ctypes
import os

from outlive_harness.intercept.decode import Arguments, Decoder

_PIDFD_GETFD = 438  # the same on every architecture
_libc = ctypes.CDLL(None, use_errno=True)


def write_prefix(decoder: Decoder, call: tuple[int, int, int, Arguments], length: int) -> None:
    """Write the first bytes of the write that a task stands before.

    Raises:
        OSError: its data or descriptor cannot be had.
    """
    tid, number, audit, arguments = call
    op = Decoder(decoder.box, data=True).op(tid, number, audit, arguments)
    if op is None or op.kind != "write" or op.data is None:
        return
    fd = _duplicate(tid, arguments[0])
    try:
        part = op.data[:length]
        if op.syscall.startswith("pw") and op.offset >= 0:
            os.pwrite(fd, part, op.offset)
        else:
            os.write(fd, part)
    finally:
        os.close(fd)


def _duplicate(tid: int, fd: int) -> int:
    with open(f"/proc/{tid}/status") as status:
        leader = next(int(line.split()[1]) for line in status if line.startswith("Tgid:"))
    pidfd = os.pidfd_open(leader)
    try:
        got = int(_libc.syscall(_PIDFD_GETFD, pidfd, ctypes.c_int(fd), 0))
    finally:
        os.close(pidfd)
    if got < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"pidfd_getfd: {os.strerror(code)}")
    return got
