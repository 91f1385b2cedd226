"""A torn write: only a prefix of it reaches the file.

The kernel itself tears a large write if SIGKILL meets it half-way, or the disk is full. The writer's own
descriptor is duplicated (pidfd_getfd(2)), so offset, append mode and rights are the writer's.

If that is refused, as by Docker's seccomp profile, the file is opened again through the writer's link to it
(``/proc/PID/fd/N``, which also leads to a file without a name), at the writer's offset. The writer's own
offset does not move then; a writer that goes on has its call cut short by a limit instead (RLIMIT_FSIZE,
getrlimit(2)), and learns how much it wrote.
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

from outlive_harness import abi
from outlive_harness.results.ops import Content

from .decode import Decoder
from .decode.writing import is_from_pipe
from .listener import Arguments, Call
from .memory import read_memory
from .task import descriptor_info

#: Errors of a call that a filter refuses, or that the kernel does not have.
_REFUSED = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS})
#: Flags of the writer's descriptor that decide what a write through it does.
_KEPT = os.O_APPEND | os.O_SYNC
_libc = ctypes.CDLL(None, use_errno=True)
_pidfd_getfd = abi.SHARED_NUMBERS["pidfd_getfd"]


class _Prefix(Decoder):
    """Decodes a write with its first bytes only.

    Args:
        box: the real path of the box.
        length: the number of bytes.
    """

    def __init__(self, box: bytes, length: int) -> None:
        super().__init__(box, data=True)
        self._length = length

    def payload(self, parts: Iterable[bytes]) -> tuple[bytes | None, Content | None]:
        data = bytearray()
        for part in parts:
            data += part
            if len(data) >= self._length:
                break
        return bytes(data[: self._length]), None


class ImmovableError(OSError):
    """A descriptor's offset cannot be moved, because the descriptor cannot be duplicated."""


def write_prefix(decoder: Decoder, call: Call, length: int, *, goes_on: bool = False) -> int:
    """Write the first bytes of a stopped write or copy; return how many were written.

    Nothing is written for a call that fails, or whose data is not known.

    Args:
        decoder: the run's decoder.
        call: the stopped call.
        length: the number of bytes.
        goes_on: whether the task goes on afterwards, so that its descriptor's offset must move.

    Raises:
        ImmovableError: the offset cannot be moved; nothing was written.
        OSError: the data or the descriptor cannot be had, or the file cannot be written.
    """
    tid, arguments = call.tid, call.arguments
    op = _Prefix(decoder.box, length).op(call)
    if op is None or not op.traits.writes or op.detail is None or op.detail.fails:
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
        # At the call's own offset and with its own flags, so that RWF_APPEND appends here too.
        return os.pwritev(fd, [op.data], ctypes.c_long(arguments[3]).value, op.detail.how)
    finally:
        os.close(fd)


class ShortWrites:
    """Cuts writes short in the task itself, by a limit on the size of its files (setrlimit(2))."""

    def __init__(self) -> None:
        #: the limits to restore, by the limit that replaces each
        self._lowered: dict[int, int] = {}

    def cut(self, decoder: Decoder, call: Call, length: int) -> None:
        """Have a stopped write end after *length* bytes once it goes on.

        Raises:
            OSError: the task's limit cannot be set.
        """
        op = _Prefix(decoder.box, length).op(call)
        if op is None or op.kind != "write" or op.offset < 0:
            return
        leader = _leader(call.tid)
        soft, hard = resource.prlimit(leader, resource.RLIMIT_FSIZE)
        end = op.offset + length
        if soft == resource.RLIM_INFINITY or end < soft:
            resource.prlimit(leader, resource.RLIMIT_FSIZE, (end, hard))
            self._lowered[end] = soft

    def lift(self, tid: int) -> None:
        """Restore the limit of a task that was cut short, or inherited a lowered limit."""
        if self._lowered:
            with contextlib.suppress(OSError, StopIteration):
                leader = _leader(tid)
                soft, hard = resource.prlimit(leader, resource.RLIMIT_FSIZE)
                if soft in self._lowered:
                    resource.prlimit(leader, resource.RLIMIT_FSIZE, (self._lowered[soft], hard))


def _splice(tid: int, arguments: Arguments, length: int) -> int:
    """Move up to *length* bytes that are in a pipe now."""
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
    """Return a descriptor of the same file as a thread's, at the same offset.

    Args:
        tid: the thread.
        fd: its descriptor.
        moves: whether the thread's own offset must move with it.

    Raises:
        ImmovableError: it must, and cannot.
        OSError: the file cannot be had.
    """
    fd &= 0xFFFFFFFF
    position, flags = descriptor_info(tid, fd)
    try:
        if not flags & os.O_DIRECT:  # O_DIRECT needs aligned memory and lengths
            return duplicate(tid, fd)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
    if moves:
        raise ImmovableError(errno.EPERM, "the descriptor's offset cannot be moved")
    found = _reopen(f"/proc/{tid}/fd/{fd}", flags & os.O_ACCMODE | flags & _KEPT)
    if stat.S_ISREG(os.fstat(found).st_mode):
        os.lseek(found, position, os.SEEK_SET)
    return found


def _reopen(link: str, flags: int) -> int:
    """Open the file behind a descriptor's link, even if its mode has changed since it was opened.

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
    """Return a duplicate of a thread's descriptor (threads of a process may have separate tables).

    Raises:
        OSError: it cannot be duplicated.
    """
    try:
        pidfd = os.pidfd_open(tid, abi.PIDFD_THREAD)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        pidfd = os.pidfd_open(_leader(tid))  # before Linux 6.9
    try:
        got = int(_libc.syscall(_pidfd_getfd, pidfd, ctypes.c_int(fd), 0))
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
