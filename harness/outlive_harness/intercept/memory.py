"""Reading and writing the memory of a task that is stopped (process_vm_readv(2), proc_pid_mem(5))."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from outlive_harness import abi

_PAGE = 4096
_PIECE = 1 << 20


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_libc = ctypes.CDLL(None, use_errno=True)
_local, _remote = _Iovec(), _Iovec()
_local_at, _remote_at = ctypes.byref(_local), ctypes.byref(_remote)
_readv: Any = getattr(_libc, "process_vm_readv", None)  # Linux only
if _readv is not None:
    number, pointer = ctypes.c_ulong, ctypes.c_void_p
    _readv.argtypes = (ctypes.c_int, pointer, number, pointer, number, number)
    _readv.restype = ctypes.c_ssize_t
#: Short reads, one for each path, share a buffer: a worker has one thread.
_SHORT = 256
_short = ctypes.create_string_buffer(_SHORT)
_into_short = ctypes.byref(_Iovec(ctypes.addressof(_short), _SHORT))


def read_memory(tid: int, address: int, length: int) -> bytes:
    """Read up to *length* bytes of a task's memory, as far as they are mapped.

    Raises:
        OSError: the task is gone, or must not be read (setuid programs, ptrace restrictions).
    """
    if length <= 0:
        return b""
    buffer = _short if length <= _SHORT else ctypes.create_string_buffer(length)
    start = ctypes.addressof(buffer)
    done = 0
    while done < length:
        # The first read ends with its page: a transfer that meets an unmapped page returns nothing at all.
        want = length - done if done else min(length, _PAGE - address % _PAGE)
        _local.base, _local.length = start + done, want
        _remote.base, _remote.length = address + done, want
        got = _readv(tid, _local_at, 1, _remote_at, 1, 0)
        if got < 0:
            code = ctypes.get_errno()
            if done and code == errno.EFAULT:
                break
            raise OSError(code, f"process_vm_readv({tid}): {os.strerror(code)}")
        done += got
        if got < want:
            break
    return ctypes.string_at(start, done)


def read_string(tid: int, address: int) -> bytes:
    """Read a NUL-terminated path of a task.

    Raises:
        OSError: its memory cannot be read.
    """
    # One call reads nearly every path; it stops at the end of the page, as the next may not be mapped.
    room = _PAGE - address % _PAGE
    _remote.base, _remote.length = address, min(_SHORT, room)
    got = _readv(tid, _into_short, 1, _remote_at, 1, 0)
    if got > 0:
        found: bytes = _short.value  # up to the first NUL
        if len(found) < got:
            return found
    text = b""
    while len(text) < abi.PATH_MAX:
        at = address + len(text)
        text += read_memory(tid, at, min(_PAGE - at % _PAGE, _SHORT))
        end = text.find(b"\0")
        if end >= 0:
            return text[:end]
        if not text:
            break
    return text


def read_iovecs(tid: int, address: int, count: int) -> list[tuple[int, int]]:
    """Read a task's array of struct iovec: (address, length) pairs."""
    raw = read_memory(tid, address, 16 * min(max(count, 0), abi.UIO_MAXIOV))
    words = memoryview(raw[: len(raw) // 16 * 16]).cast("Q")
    return [(words[i], words[i + 1]) for i in range(0, len(words), 2)]


def read_parts(tid: int, parts: list[tuple[int, int]]) -> Iterator[bytes]:
    """Yield the bytes in (address, length) parts of a task's memory, as a write would take them.

    Raises:
        OSError: the memory cannot be read.
    """
    left = abi.MAX_RW_COUNT
    for start, length in parts:
        end = start + min(length, left)
        left -= end - start
        for address in range(start, end, _PIECE):
            want = min(end - address, _PIECE)
            try:
                data = read_memory(tid, address, want)
            except OSError as error:
                if error.errno == errno.EFAULT:  # the write ends there too
                    return
                raise
            yield data
            if len(data) < want:
                return


def write_memory(tid: int, pieces: Mapping[int, bytes], is_valid: Callable[[], bool]) -> None:
    """Write into a task's memory, also where the task itself may only read or execute it.

    Args:
        tid: the task.
        pieces: the bytes, by their address.
        is_valid: returns whether the id is still that task's; asked once its memory is open, so that no
            other task's is written.

    Raises:
        OSError: the task is gone, or its memory must not be written (proc_pid_mem(5)); EIO: a piece is not
            mapped, or the kernel lets nobody write what the task may not (``proc_mem.force_override``).
    """
    fd = os.open(f"/proc/{tid}/mem", os.O_WRONLY | os.O_CLOEXEC)
    try:
        if not is_valid():
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        for address, data in pieces.items():
            if os.pwrite(fd, data, address) != len(data):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
    finally:
        os.close(fd)
