"""Times of files under a lent clock: all that a session makes is shown as made within one second.

Whoever copies a file's time into an output (tar(1), gzip(1), zip(1), workbooks that are packed from temporary
files) would write another second in each run. So a call that asks for a file's status is answered with the
times moved into one second, the first after the session began. They keep their order, among themselves and
after all older files, so a tool that makes what is older than its source (make(1)) decides as it would.

Sources: stat(2), statx(2), ``asm-generic/stat.h``, ``asm/stat.h`` of x86, ``linux/stat.h``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import struct
import time
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

from outlive_harness import abi

from .listener import Call, Listener
from .memory import read_string
from .task import signed

#: Nanoseconds of a second, and those after which half of the second is used up.
_SECOND, _HALF = 10**9, 3600 * 10**9
_libc = ctypes.CDLL(None, use_errno=True)
#: Names that mean other files to other processes, and files that the kernel makes up.
_LEFT_ALONE = (b"/proc/", b"/sys/", b"/dev/fd/", b"/dev/std")
#: Lines that tell which files a task may see (proc_pid_status(5)).
_RIGHTS = re.compile(rb"^(?:Uid|Gid|Groups|CapEff):.*$", re.MULTILINE)


class _Asks(NamedTuple):
    """A call that asks for a file's status.

    Attributes:
        directory: the argument that holds a directory's descriptor; -1 for none.
        path: the argument that points to the path; -1 for a call about a descriptor alone.
        flags: the argument that holds flags; -1 for none.
        result: the argument that points to the result.
        is_extended: whether the result is a struct statx.
        follows: whether the last name is resolved, unless a flag says that it is not.
    """

    directory: int
    path: int
    flags: int
    result: int
    is_extended: bool = False
    follows: bool = True


#: The calls that ask for a file's status.
ASKS = {
    "newfstatat": _Asks(0, 1, 3, 2),
    "statx": _Asks(0, 1, 2, 4, is_extended=True),
    "stat": _Asks(-1, 0, -1, 1),
    "lstat": _Asks(-1, 0, -1, 1, follows=False),
    "fstat": _Asks(0, -1, -1, 1),
}


class _Layout(NamedTuple):
    """Where the times stand in a result: its size, its device, the form of a time, and the offsets."""

    size: int
    device: Callable[[bytes], int]
    form: struct.Struct
    offsets: tuple[int, ...]


def _device(status: bytes) -> int:
    return int(_NUMBER.unpack_from(status, 0)[0])


def _device_of_statx(status: bytes) -> int:
    return os.makedev(*_NUMBERS.unpack_from(status, 136))


_NUMBER, _NUMBERS = struct.Struct("=Q"), struct.Struct("=II")
_IS_ARM = os.uname().machine in ("aarch64", "arm64")
_STAT = _Layout(128 if _IS_ARM else 144, _device, struct.Struct("=qq"), (72, 88, 104))
_STATX = _Layout(256, _device_of_statx, struct.Struct("=qI"), (64, 80, 96, 112))


class FileTimes:
    """The times that the files of a session show.

    Args:
        since: when the session began, in nanoseconds since 1970; the times of older files are left alone.
    """

    def __init__(self, since: int) -> None:
        self._base = (since // _SECOND + 1) * _SECOND
        table = abi.native()
        numbers = table.numbers if table is not None else {}
        self.answers: dict[int, Callable[[Call, Listener], None]] = {
            numbers[name]: partial(self._answer, asks) for name, asks in ASKS.items() if name in numbers
        }
        self._newfstatat, self._statx = numbers.get("newfstatat", -1), numbers.get("statx", -1)
        self._buffer = ctypes.create_string_buffer(_STATX.size)

    def wait(self) -> None:
        """Wait, for two seconds at most, until no file made from now on has a time of the shown second."""
        time.sleep(max(0.0, (self._base + _SECOND - time.time_ns()) / _SECOND))

    def shown(self, moment: int) -> int:
        """Return the time that is shown instead of a file's, both in nanoseconds since 1970.

        A time within the shown second stays, as it is that of a copy; so does one in the future.
        """
        age = moment - self._base - _SECOND
        if age < 0 or moment > time.time_ns():
            return moment
        return self._base + age * _SECOND // (age + _HALF)

    def _answer(self, asks: _Asks, call: Call, listener: Listener) -> None:
        """Answer a call itself if it would show a time of the session's; else let it go on."""
        found = self._looked_up(asks, call)
        status = self._moved(*found) if found is not None else None
        if status is not None and _sees_the_same(call.tid):
            listener.fill(call, {call.arguments[asks.result]: status})
        else:
            listener.let_go_on(call.ident)

    def _looked_up(self, asks: _Asks, call: Call) -> tuple[bytes, _Layout] | None:
        """Return the status that the kernel gives; None if the task is to ask itself."""
        arguments, tid = call.arguments, call.tid
        flags = arguments[asks.flags] & 0xFFFFFFFF if asks.flags >= 0 else 0
        base = abi.AT_FDCWD if asks.directory < 0 else signed(arguments[asks.directory])
        path = b""
        if asks.path >= 0 and arguments[asks.path]:
            try:
                path = read_string(tid, arguments[asks.path])
            except OSError as error:
                if error.errno == errno.EFAULT:  # so the call itself fails, too
                    return None
                raise
        if path.startswith(_LEFT_ALONE):
            return None
        if path.startswith(b"/"):
            where = b"/proc/%d/root%s" % (tid, path)
        else:
            if not path and asks.path >= 0 and not flags & abi.AT_EMPTY_PATH:
                return None
            where = b"/proc/%d/cwd" % tid if base == abi.AT_FDCWD else b"/proc/%d/fd/%d" % (tid, base)
            where += b"/" + path if path else b""
        stops = path and (not asks.follows or flags & abi.AT_SYMLINK_NOFOLLOW)
        flags &= ~(abi.AT_EMPTY_PATH | abi.AT_SYMLINK_NOFOLLOW)
        flags |= abi.AT_SYMLINK_NOFOLLOW if stops else 0
        at, number = ctypes.c_int(abi.AT_FDCWD), ctypes.c_long
        if asks.is_extended:
            mask = ctypes.c_uint(arguments[3] & 0xFFFFFFFF)
            done = _libc.syscall(number(self._statx), at, where, ctypes.c_int(flags), mask, self._buffer)
        else:
            done = _libc.syscall(number(self._newfstatat), at, where, self._buffer, ctypes.c_int(flags))
        layout = _STATX if asks.is_extended else _STAT
        status = self._buffer.raw
        return None if done or layout.device(status) == _proc() else (status, layout)

    def _moved(self, status: bytes, layout: _Layout) -> bytes | None:
        """Return a status with its times moved; None if none of them is."""
        moved = bytearray(status[: layout.size])
        for offset in layout.offsets:
            seconds, rest = layout.form.unpack_from(status, offset)
            shown = self.shown(seconds * _SECOND + rest)
            layout.form.pack_into(moved, offset, *divmod(shown, _SECOND))
        return bytes(moved) if moved != status[: layout.size] else None


def _sees_the_same(tid: int) -> bool:
    """Return whether names and owners mean the same to a task as to this process, and it may see as much."""
    try:
        for name in ("mnt", "user"):
            if os.readlink(f"/proc/{tid}/ns/{name}") != _own_namespace(name):
                return False
        return os.geteuid() != 0 or _rights(tid) == _own_rights()  # only root can give up rights
    except OSError:
        return False


def _rights(tid: int | str) -> list[bytes]:
    with open(f"/proc/{tid}/status", "rb", buffering=0) as status:
        return _RIGHTS.findall(status.read())


@cache
def _own_rights() -> list[bytes]:
    return _rights("self")


@cache
def _own_namespace(name: str) -> str:
    return os.readlink(f"/proc/self/ns/{name}")


@cache
def _proc() -> int:
    """Return the device of /proc, in which names mean other files for each process."""
    return os.stat("/proc").st_dev
