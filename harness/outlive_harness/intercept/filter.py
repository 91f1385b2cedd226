"""The BPF program that stops a task before a call that can change files, and its installation.

Sources: seccomp(2), ``Documentation/userspace-api/seccomp_filter.rst``, bpf(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Sequence

from . import abi, signals

_LD_ABS = 0x20
_JEQ = 0x15
_JGE = 0x35
_JSET = 0x45
_RET = 0x06
_OFFSET_NR = 0
_OFFSET_ARCH = 4

#: Calls that stop whatever their arguments are, the frequent ones first.
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
#: Opens stop only where their flags can change something: (call, argument that holds the flags).
_OPENS = (("open", 1), ("openat", 2), ("open_by_handle_at", 2))
#: Calls that ask whether a file is there; they stop only where it is asked what a program looks for.
LOOKS = ("newfstatat", "statx", "stat", "lstat", "access", "faccessat", "faccessat2")
#: Calls that say which programs are run and whom the run talks to; they stop only where it is asked what a
#: program reads.
CONTACTS = ("execve", "execveat", "connect", "sendto", "sendmsg", "sendmmsg")
#: Calls that change what may be done to memory: they stop where it is to be written to.
PROTECTIONS = ("mprotect", "pkey_mprotect")
#: Asynchronous submission would slip past a filter on calls, so it is not there (ENOSYS).
_ABSENT = ("io_uring_setup", "io_setup")

INTERCEPTED = (
    *_ALWAYS, *(name for name, _ in _OPENS), "mmap", *PROTECTIONS, "ioctl", *signals.CALLS,
)  # fmt: skip


def _insn(code: int, jump_true: int, jump_false: int, k: int) -> bytes:
    return struct.pack("=HBBI", code, jump_true, jump_false, k)


def _low_word(argument: int) -> bytes:
    return _insn(_LD_ABS, 0, 0, 16 + 8 * argument)


def _any_of(values: Sequence[int]) -> list[bytes]:
    """Go on after this where the word is one of the values, else past the one instruction after it."""
    last = len(values) - 1
    return [_insn(_JEQ, last - at, int(at == last), value) for at, value in enumerate(values)]


def _return(action: int) -> bytes:
    return _insn(_RET, 0, 0, action)


def program(table: abi.Abi, *, reads: bool = False, looks: bool = False, channel: int = -1) -> bytes:
    """Assemble the filter for one architecture; every jump is local, so order is free.

    Args:
        table: its numbers.
        reads: whether opens stop that only read, too, and calls that run a program or name an address.
        looks: whether calls stop that only ask whether a file is there.
        channel: a descriptor on which sendmsg(2) never stops: the listener itself is sent over it.
    """
    notify, allow = _return(abi.SECCOMP_RET_USER_NOTIF), _return(abi.SECCOMP_RET_ALLOW)
    code = [
        _insn(_LD_ABS, 0, 0, _OFFSET_ARCH),
        # A task of another architecture is let through call by call, and reported as unseen.
        _insn(_JEQ, 1, 0, table.audit),
        notify,
        _insn(_LD_ABS, 0, 0, _OFFSET_NR),
    ]
    if table.foreign_from:
        code += [_insn(_JGE, 0, 1, table.foreign_from), notify]

    def when(name: str, block: list[bytes]) -> None:
        if name in table.numbers:
            code.append(_insn(_JEQ, 0, len(block), table.numbers[name]))
            code.extend(block)

    for name in _ALWAYS:
        when(name, [notify])
    for name, argument in _OPENS:
        changes = [_low_word(argument), _insn(_JSET, 0, 1, abi.OPEN_CHANGES), notify, allow]
        when(name, [notify] if reads else changes)
    shared_file = [_insn(_JSET, 0, 2, abi.MAP_SHARED), _insn(_JSET, 1, 0, abi.MAP_ANONYMOUS)]
    when("mmap", [_low_word(3), *shared_file, notify, allow])
    for name in PROTECTIONS:
        when(name, [_low_word(2), _insn(_JSET, 0, 1, abi.PROT_WRITE), notify, allow])
    loops = abi.LOOP_SET_FD, abi.LOOP_CHANGE_FD, abi.LOOP_CONFIGURE
    requests = (
        abi.FICLONE,
        abi.FICLONERANGE,
        *abi.RESERVATIONS,
        *abi.FLAG_CHANGES,
        *abi.UNKNOWN_CHANGES,
        *loops,
    )
    when("ioctl", [_low_word(1), *_any_of(requests), notify, allow])
    for name in (*(CONTACTS if reads else ()), *(LOOKS if looks else ())):
        is_own = [_low_word(0), _insn(_JEQ, 0, 1, channel & 0xFFFFFFFF), allow] if name == "sendmsg" else []
        when(name, [*is_own, notify])
    for name, argument in signals.CALLS.items():
        when(name, [_low_word(argument), *_any_of(signals.HARMLESS), allow, notify])
    for name in _ABSENT:
        when(name, [_return(abi.SECCOMP_RET_ERRNO | errno.ENOSYS)])
    code.append(allow)
    return b"".join(code)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process, as the manual page of prctl says.

    Raises:
        OSError: the kernel refuses.
    """
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")


def install(table: abi.Abi | None, *, reads: bool = False, looks: bool = False, channel: int = -1) -> int:
    """Put the calling thread, and all that it will start, under the filter; return the listener.

    Raises:
        OSError: the kernel, or a filter of the surroundings, refuses; ``strerror`` says which step.
    """
    if table is None or sys.platform != "linux":
        raise OSError(errno.ENOSYS, f"no seccomp here that is known: {sys.platform}, {platform.machine()}")
    prctl(abi.PR_SET_NO_NEW_PRIVS, 1)
    code = program(table, reads=reads, looks=looks, channel=channel)
    argument = _Program(len(code) // 8, code)
    flags = abi.SECCOMP_FILTER_FLAG_NEW_LISTENER | abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    listener = _seccomp(table, flags, argument)
    if listener < 0 and ctypes.get_errno() == errno.EINVAL:  # before 5.19: a signal may count an op twice
        listener = _seccomp(table, abi.SECCOMP_FILTER_FLAG_NEW_LISTENER, argument)
    if listener < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp(SET_MODE_FILTER, NEW_LISTENER): {os.strerror(number)}")
    return listener


def _seccomp(table: abi.Abi, flags: int, argument: _Program) -> int:
    number = ctypes.c_long(table.numbers["seccomp"])
    operation = ctypes.c_ulong(abi.SECCOMP_SET_MODE_FILTER)
    return int(_libc.syscall(number, operation, ctypes.c_ulong(flags), ctypes.byref(argument)))
