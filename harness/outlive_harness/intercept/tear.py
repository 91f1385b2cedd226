"""A torn write, made for real: a prefix of it reaches the file, and no more.

The writer's own descriptor is duplicated (pidfd_getfd(2)), so that offset, append mode and rights
are the writer's. The kernel itself tears a large write so when SIGKILL meets it half-way, or where
the disk is full.

Where that is refused, as by Docker's seccomp profile, the file is opened once more through the writer's own
link to it (``/proc/PID/fd/N``, which leads to a file without a name as well), at the writer's place. That
place does not move then, which matters to a writer that goes on: its own call is cut short by a limit
(RLIMIT_FSIZE, getrlimit(2)), and returns how much it wrote.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import stat
import sys
from collections.abc import Iterable

from outlive_harness.trace import WRITES, Content

from .decode import Arguments, Decoder, is_from_pipe
from .task import descriptor_info, read_memory

_PIDFD_GETFD = 438  # the same on every architecture
_PIDFD_THREAD = os.O_EXCL  # pidfd_open(2), Linux 6.9
#: How a call is refused by a filter, or by a kernel that does not have it.
_REFUSED = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS})
#: Flags of the writer's descriptor that decide what a write through it does.
_KEPT = os.O_APPEND | os.O_SYNC
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


class ImmovableError(OSError):
    """The place of a descriptor cannot be moved, since the descriptor cannot be had."""


def write_prefix(
    decoder: Decoder, call: tuple[int, int, int, Arguments], length: int, *, goes_on: bool = False
) -> int:
    """Write the first bytes of the write or copy that a task stands before; return how many.

    None are written of a call that fails, or of which it is not known what it writes.

    Args:
        decoder: of the run.
        call: thread, number, architecture word, arguments.
        length: how many bytes.
        goes_on: whether the task will, so that its descriptor's place must have moved.

    Raises:
        ImmovableError: that cannot be; nothing was written.
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
    at_its_place = is_copy or op.syscall.startswith("pw")
    out = arguments[2] if op.syscall in ("copy_file_range", "splice") else arguments[0]
    fd = _descriptor(tid, out, moves=goes_on and not at_its_place and op.offset >= 0)
    try:
        if is_copy:
            return os.pwrite(fd, op.data, op.offset)
        if not at_its_place:
            return os.write(fd, op.data)
        # At the call's own place and with its own flags, so that what appends does so here.
        return os.pwritev(fd, [op.data], ctypes.c_long(arguments[3]).value, op.detail.how)
    finally:
        os.close(fd)


class ShortWrites:
    """Cuts writes short in the task itself: a limit on the size of its files ends them (setrlimit(2))."""

    def __init__(self) -> None:
        #: limits that are to be given back, by the one that stands in for each
        self._lowered: dict[int, int] = {}

    def cut(self, decoder: Decoder, call: tuple[int, int, int, Arguments], length: int) -> None:
        """Let the write that a task stands before end after so many bytes, once it goes on.

        Raises:
            OSError: its limit cannot be set.
        """
        tid, number, audit, arguments = call
        op = _Prefix(decoder.box, length).op(tid, number, audit, arguments)
        if op is None or op.kind != "write" or op.offset < 0:
            return
        leader = _leader(tid)
        soft, hard = resource.prlimit(leader, resource.RLIMIT_FSIZE)
        end = op.offset + length
        if soft == resource.RLIM_INFINITY or end < soft:
            resource.prlimit(leader, resource.RLIMIT_FSIZE, (end, hard))
            self._lowered[end] = soft

    def lift(self, tid: int) -> None:
        """Give a task back the limit that it had, or that it inherited from one that was cut short."""
        if self._lowered:
            with contextlib.suppress(OSError, StopIteration):
                leader = _leader(tid)
                soft, hard = resource.prlimit(leader, resource.RLIMIT_FSIZE)
                if soft in self._lowered:
                    resource.prlimit(leader, resource.RLIMIT_FSIZE, (self._lowered[soft], hard))


def _splice(tid: int, arguments: Arguments, length: int) -> int:
    """Move so much of what is in a pipe now; what is still to come into it stays out."""
    out = _descriptor(tid, arguments[2])
    try:
        source = _descriptor(tid, arguments[0])
        try:
            at = int.from_bytes(read_memory(tid, arguments[3], 8), sys.byteorder) if arguments[3] else None
            return os.splice(source, out, length, offset_dst=at, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return 0
        finally:
            os.close(source)
    finally:
        os.close(out)


def _descriptor(tid: int, fd: int, *, moves: bool = False) -> int:
    """Return a descriptor of what a thread's is open on, at the same place.

    Args:
        tid: the thread.
        fd: its descriptor.
        moves: whether the thread's own is to move with it.

    Raises:
        ImmovableError: it is to, and cannot.
        OSError: There is none to be had.
    """
    fd &= 0xFFFFFFFF
    position, flags = descriptor_info(tid, fd)
    try:
        if not flags & os.O_DIRECT:  # which takes neither our memory nor any length
            return duplicate(tid, fd)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
    if moves:
        raise ImmovableError(errno.EPERM, "the descriptor's place cannot be moved")
    found = _reopen(f"/proc/{tid}/fd/{fd}", flags & os.O_ACCMODE | flags & _KEPT)
    if stat.S_ISREG(os.fstat(found).st_mode):
        os.lseek(found, position, os.SEEK_SET)
    return found


def _reopen(link: str, flags: int) -> int:
    """Open what a descriptor's link leads to; a mode that has changed since it was opened is no obstacle.

    Raises:
        OSError: it cannot be opened.
    """
    flags |= os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(link, flags)
    except PermissionError:
        mode = stat.S_IMODE(os.stat(link).st_mode)
        os.chmod(link, mode | stat.S_IRUSR | stat.S_IWUSR)
        try:
            return os.open(link, flags)
        finally:
            os.chmod(link, mode)


def duplicate(tid: int, fd: int) -> int:
    """Return a duplicate of a thread's descriptor; the others of its process may have another table.

    Raises:
        OSError: There is none to be had.
    """
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
