"""The seccomp listener: notifications of stopped calls, and answers to them.

Sources: seccomp_unotify(2), ``Documentation/userspace-api/seccomp_filter.rst``.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import struct
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from outlive_harness import abi

from .memory import write_memory

_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_RESPONSE = struct.Struct("=QqiI")
_IDENT = struct.Struct("=Q")
_BLANK = bytes(_NOTIFICATION.size)

Arguments = tuple[int, int, int, int, int, int]


class Call(NamedTuple):
    """A stopped call.

    Attributes:
        ident: the notification's id, for the answer.
        tid: the thread that made the call.
        number: the system call's number.
        audit: the architecture word of the number.
        arguments: its six arguments, as registers.
    """

    ident: int
    tid: int
    number: int
    audit: int
    arguments: Arguments


class Listener:
    """The notifications of one filter.

    Args:
        fd: the descriptor that seccomp(2) returned.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._buffer = bytearray(_NOTIFICATION.size)

    def receive(self) -> Call | None:
        """Receive one notification; None if its task died meanwhile."""
        self._buffer[:] = _BLANK
        try:
            fcntl.ioctl(self.fd, abi.SECCOMP_IOCTL_NOTIF_RECV, self._buffer)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                return None
            raise
        ident, tid, _, number, audit, _, *arguments = _NOTIFICATION.unpack(self._buffer)
        return Call(ident, tid, number, audit, tuple(arguments))

    def is_valid(self, ident: int) -> bool:
        """Return whether a notification's task still waits; if not, its memory may have been another's."""
        try:
            fcntl.ioctl(self.fd, abi.SECCOMP_IOCTL_NOTIF_ID_VALID, _IDENT.pack(ident))
        except OSError:
            return False
        return True

    def let_go_on(self, ident: int) -> None:
        """Let the kernel run the call."""
        self._send(ident, 0, 0, abi.SECCOMP_USER_NOTIF_FLAG_CONTINUE)

    def fail(self, ident: int, error: int) -> None:
        """Fail the call with an errno, without running it."""
        self._send(ident, 0, error, 0)

    def succeed(self, ident: int, value: int = 0) -> None:
        """Let the call return a value, without running it."""
        self._send(ident, value, 0, 0)

    def fill(self, call: Call, pieces: Mapping[int, bytes], value: int = 0) -> None:
        """Write the results of a call into its task's memory, by address, and let it return a value.

        Raises:
            OSError: the task is gone, or its memory must not be written.
        """
        try:
            write_memory(call.tid, pieces, partial(self.is_valid, call.ident))
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self.fail(call.ident, errno.EFAULT)
        else:
            self.succeed(call.ident, value)

    def _send(self, ident: int, value: int, error: int, flags: int) -> None:
        try:  # noqa: SIM105 - suppress() takes as long as the ioctl
            fcntl.ioctl(self.fd, abi.SECCOMP_IOCTL_NOTIF_SEND, _RESPONSE.pack(ident, value, -error, flags))
        except FileNotFoundError:  # ENOENT: another process killed the task
            pass

    def wake_synchronously(self) -> None:
        """Hand the CPU over directly (Linux 6.6): 11 µs an op instead of 80."""
        with contextlib.suppress(OSError):
            flags = ctypes.c_ulong(abi.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP).value
            fcntl.ioctl(self.fd, abi.SECCOMP_IOCTL_NOTIF_SET_FLAGS, flags)
