"""The BPF program that stops a task before a call that can change files, and how it is installed.

Sources: seccomp(2), ``Documentation/userspace-api/seccomp_filter.rst``, bpf(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterator, Sequence

from outlive_harness import abi

from . import clock, signals
from .clock_code import TAI, WALL
from .file_times import ASKS

#: Calls that always stop, the frequent ones first.
_ALWAYS = (
    "write", "pwrite64", "writev", "pwritev", "pwritev2", "fsync", "fdatasync", "rename", "renameat",
    "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "creat", "openat2", "ftruncate",
    "truncate", "fallocate", "link", "linkat", "symlink", "symlinkat", "mknod", "mknodat", "chmod",
    "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utime", "utimes",
    "futimesat", "utimensat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr",
    "lremovexattr", "fremovexattr", "removexattrat", "sendfile", "copy_file_range", "splice", "sync",
    "syncfs", "sync_file_range", "bind", "chroot", "pivot_root", "mount", "move_mount",
    "open_tree", "open_tree_attr", "fsmount", "setns",
)  # fmt: skip
#: Opens stop only if their flags can change something: (call, argument that holds the flags).
_OPENS = (("open", 1), ("openat", 2), ("open_by_handle_at", 2))
#: Calls that ask whether a file exists, or enter a directory; they stop only if the paths that a program
#: looks up are wanted.
LOOKS = ("newfstatat", "statx", "stat", "lstat", "access", "faccessat", "faccessat2", "chdir")
#: Calls that run a program or talk to an address; they stop only if the files that a program reads are
#: wanted.
CONTACTS = ("execve", "execveat", "connect", "sendto", "sendmsg", "sendmmsg")
#: Calls that change the protection of memory; they stop only if it becomes writable.
PROTECTIONS = ("mprotect", "pkey_mprotect")
#: Asynchronous submission would slip past a filter on calls, so these fail with ENOSYS.
_ABSENT = ("io_uring_setup", "io_setup")

#: Requests of ioctl(2) that stop.
_REQUESTS = (
    abi.FICLONE, abi.FICLONERANGE, *abi.RESERVATIONS, *abi.FLAG_CHANGES, *abi.UNKNOWN_CHANGES,
    abi.LOOP_SET_FD, abi.LOOP_CHANGE_FD, abi.LOOP_CONFIGURE,
)  # fmt: skip

#: Flags of seccomp(2), in the order to try them. Before Linux 5.19 there is only the first flag, and a signal
#: may count an op twice.
FLAGS = (
    abi.SECCOMP_FILTER_FLAG_NEW_LISTENER | abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    abi.SECCOMP_FILTER_FLAG_NEW_LISTENER,
)

INTERCEPTED = (
    *_ALWAYS, *(name for name, _ in _OPENS), "mmap", *PROTECTIONS, "ioctl", *signals.CALLS,
)  # fmt: skip


def _insn(code: int, jump_true: int, jump_false: int, k: int) -> bytes:
    return struct.pack("=HBBI", code, jump_true, jump_false, k)


def _low_word(argument: int) -> bytes:
    return _insn(abi.BPF_LD_W_ABS, 0, 0, abi.SECCOMP_DATA_ARGS + 8 * argument)


def _any_of(values: Sequence[int]) -> list[bytes]:
    """Go on if the word is one of the values; else skip the next instruction."""
    last = len(values) - 1
    return [_insn(abi.BPF_JEQ_K, last - at, int(at == last), value) for at, value in enumerate(values)]


def _if_not_null(argument: int) -> list[bytes]:
    """Go on if a pointer is not null; else skip the next instruction."""
    high = _insn(abi.BPF_LD_W_ABS, 0, 0, abi.SECCOMP_DATA_ARGS + 8 * argument + 4)
    return [_low_word(argument), _insn(abi.BPF_JEQ_K, 0, 2, 0), high, _insn(abi.BPF_JEQ_K, 1, 0, 0)]


def _return(action: int) -> bytes:
    return _insn(abi.BPF_RET_K, 0, 0, action)


def program(
    table: abi.Abi,
    *,
    files: bool = True,
    reads: bool = False,
    looks: bool = False,
    freezes: bool = False,
    channel: int = -1,
) -> bytes:
    """Assemble the filter for one architecture; every jump is local, so order is free.

    Args:
        table: its numbers.
        files: whether calls stop that can change files or signal a process.
        reads: whether opens for reading stop too, and calls that run a program or name an address.
        looks: whether calls that only ask whether a file exists stop too.
        freezes: whether calls stop that read the wall clock or wait for it, that read a file's times, and one
            that each image makes.
        channel: a descriptor on which sendmsg(2) never stops: the listener itself is sent over it.
    """
    notify = _return(abi.SECCOMP_RET_USER_NOTIF)
    code = [
        _insn(abi.BPF_LD_W_ABS, 0, 0, abi.SECCOMP_DATA_ARCH),
        # Calls of a task of another architecture are stopped, let go on, and reported as unseen.
        _insn(abi.BPF_JEQ_K, 1, 0, table.audit),
        notify,
        _insn(abi.BPF_LD_W_ABS, 0, 0, abi.SECCOMP_DATA_NR),
    ]
    if table.foreign_from:
        code += [_insn(abi.BPF_JGE_K, 0, 1, table.foreign_from), notify]
    blocks = list(_clock_blocks()) if freezes else []
    blocks += _blocks(reads=reads, looks=looks, channel=channel) if files else []
    for name, block in blocks:
        if name in table.numbers:
            code.append(_insn(abi.BPF_JEQ_K, 0, len(block), table.numbers[name]))
            code.extend(block)
    code.append(_return(abi.SECCOMP_RET_ALLOW))
    return b"".join(code)


def _blocks(*, reads: bool, looks: bool, channel: int) -> Iterator[tuple[str, list[bytes]]]:
    """Yield the instructions that decide about each call; the arguments are those of program()."""
    notify, allow = _return(abi.SECCOMP_RET_USER_NOTIF), _return(abi.SECCOMP_RET_ALLOW)
    for name in _ALWAYS:
        yield name, [notify]
    for name, argument in _OPENS:
        changes = [_low_word(argument), _insn(abi.BPF_JSET_K, 0, 1, abi.OPEN_CHANGES), notify, allow]
        yield name, [notify] if reads else changes
    is_shared, is_anonymous = abi.MAP_SHARED, abi.MAP_ANONYMOUS
    of_a_file = [_insn(abi.BPF_JSET_K, 0, 2, is_shared), _insn(abi.BPF_JSET_K, 1, 0, is_anonymous)]
    yield "mmap", [_low_word(3), *of_a_file, notify, allow]
    for name in PROTECTIONS:
        yield name, [_low_word(2), _insn(abi.BPF_JSET_K, 0, 1, abi.PROT_WRITE), notify, allow]
    yield "ioctl", [_low_word(1), *_any_of(_REQUESTS), notify, allow]
    for name in (*(CONTACTS if reads else ()), *(LOOKS if looks else ())):
        is_own = [_low_word(0), _insn(abi.BPF_JEQ_K, 0, 1, channel & 0xFFFFFFFF), allow]
        yield name, [*is_own, notify] if name == "sendmsg" else [notify]
    for name, argument in signals.CALLS.items():
        yield name, [_low_word(argument), *_any_of(signals.HARMLESS), allow, notify]
    for name in _ABSENT:
        yield name, [_return(abi.SECCOMP_RET_ERRNO | errno.ENOSYS)]


def _clock_blocks() -> Iterator[tuple[str, list[bytes]]]:
    """Yield the instructions that decide about each call that has to do with the clock; see clock.py."""
    notify, allow = _return(abi.SECCOMP_RET_USER_NOTIF), _return(abi.SECCOMP_RET_ALLOW)
    of_the_wall = [*_any_of((*WALL, TAI)), notify, allow]
    # The replaced functions make this call for the other clocks.
    yield "clock_gettime", [_low_word(0), *of_the_wall]
    yield "clock_nanosleep", [*_if_absolute(1), _low_word(0), *of_the_wall]
    is_until = [
        _insn(abi.BPF_JSET_K, 3, 0, clock.FUTEX_REALTIME),
        _insn(abi.BPF_JEQ_K, 2, 0, clock.FUTEX_LOCK_PI),
        _insn(abi.BPF_JEQ_K, 1, 0, clock.FUTEX_LOCK_PI | clock.FUTEX_PRIVATE),
        allow,
    ]
    yield "futex", [_low_word(1), *is_until, *_if_not_null(3), notify, allow]
    for name in ("timerfd_settime", "timer_settime"):
        yield name, [*_if_absolute(1), notify]
    for name in ("mq_timedsend", "mq_timedreceive"):
        yield name, [*_if_not_null(4), notify, allow]
    for name, argument in (("futex_waitv", 4), ("futex_wait", 5)):
        yield name, [_low_word(argument), *of_the_wall]
    for name in ("gettimeofday", "time", *clock.STARTS):
        yield name, [notify]
    for name in ASKS:
        yield name, [notify]
    yield "brk", [*_if_not_null(0), allow, notify]


def _if_absolute(argument: int) -> list[bytes]:
    """Go on if the flags say that a time is a moment; else allow the call."""
    allow = _return(abi.SECCOMP_RET_ALLOW)
    return [_low_word(argument), _insn(abi.BPF_JSET_K, 1, 0, clock.ABSOLUTE), allow]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process (prctl(2)).

    Raises:
        OSError: the kernel refuses.
    """
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")


def install(
    table: abi.Abi | None,
    *,
    files: bool = True,
    reads: bool = False,
    looks: bool = False,
    freezes: bool = False,
    channel: int = -1,
) -> int:
    """Put the calling thread, and all that it starts, under the filter; return the listener.

    The arguments are those of program().

    Raises:
        OSError: the kernel or an outer filter refuses; ``strerror`` says which step.
    """
    if table is None or sys.platform != "linux":
        raise OSError(errno.ENOSYS, f"seccomp is not supported here: {sys.platform}, {platform.machine()}")
    prctl(abi.PR_SET_NO_NEW_PRIVS, 1)
    code = program(table, files=files, reads=reads, looks=looks, freezes=freezes, channel=channel)
    argument = _Program(len(code) // 8, code)
    call, operation = ctypes.c_long(table.numbers["seccomp"]), ctypes.c_ulong(abi.SECCOMP_SET_MODE_FILTER)
    number = 0
    for flags in FLAGS:
        listener = int(_libc.syscall(call, operation, ctypes.c_ulong(flags), ctypes.byref(argument)))
        if listener >= 0:
            return listener
        number = ctypes.get_errno()
        if number != errno.EINVAL:
            break
    raise OSError(number, f"seccomp(SET_MODE_FILTER, NEW_LISTENER): {os.strerror(number)}")
