"""Reading a task that stands still: its memory, its descriptors, the paths that it means.

Sources: process_vm_readv(2), proc_pid_fd(5), proc_pid_fdinfo(5), path_resolution(7).
"""

from __future__ import annotations

import ctypes
import errno
import os

from . import abi

_PAGE = 4096
_PATH_MAX = 4096
#: ``/proc/self`` and its aliases mean the task, not the one who reads its path.
_SELF = {
    b"/proc/self/": b"/proc/%d/",
    b"/proc/thread-self/": b"/proc/%d/",
    b"/dev/fd/": b"/proc/%d/fd/",
}
_SELF_NAMES = {b"/dev/stdin": b"0", b"/dev/stdout": b"1", b"/dev/stderr": b"2"}


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_libc = ctypes.CDLL(None, use_errno=True)


def read_memory(tid: int, address: int, length: int) -> bytes:
    """Read up to *length* bytes of a task's memory, as far as they are mapped.

    Raises:
        OSError: the task is gone, or may not be read (setuid programs, ptrace restrictions).
    """
    if length <= 0:
        return b""
    buffer = ctypes.create_string_buffer(length)
    done = 0
    while done < length:
        # One page at a time to its end: a transfer that meets an unmapped page gives nothing at all.
        want = length - done if done else min(length, _PAGE - address % _PAGE)
        local = _Iovec(ctypes.addressof(buffer) + done, want)
        remote = _Iovec(address + done, want)
        got = _libc.process_vm_readv(tid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
        if got < 0:
            code = ctypes.get_errno()
            if done and code == errno.EFAULT:
                break
            raise OSError(code, f"process_vm_readv({tid}): {os.strerror(code)}")
        done += got
        if got < want:
            break
    return buffer.raw[:done]


def read_string(tid: int, address: int) -> bytes:
    """Read a NUL-terminated path of a task.

    Raises:
        OSError: its memory cannot be read.
    """
    text = b""
    while len(text) < _PATH_MAX:
        at = address + len(text)
        text += read_memory(tid, at, min(_PAGE - at % _PAGE, 256))
        end = text.find(b"\0")
        if end >= 0:
            return text[:end]
        if not text:
            break
    return text


def read_iovecs(tid: int, address: int, count: int) -> list[tuple[int, int]]:
    """Read a task's array of iovec: (address, length) pairs."""
    raw = read_memory(tid, address, 16 * min(max(count, 0), 1024))
    words = memoryview(raw[: len(raw) // 16 * 16]).cast("Q")
    return [(words[i], words[i + 1]) for i in range(0, len(words), 2)]


def descriptor_path(tid: int, fd: int) -> bytes:
    """Return what the descriptor of a task is open on, as the kernel names it; b"" if it is not open."""
    try:
        return os.readlink(b"/proc/%d/fd/%d" % (tid, fd))
    except OSError:
        return b""


def descriptor_info(tid: int, fd: int) -> tuple[int, int]:
    """Return (offset in bytes, open flags) of a task's descriptor."""
    with open(f"/proc/{tid}/fdinfo/{fd}", "rb") as info:
        fields = dict(line.split(b":", 1) for line in info.read(256).splitlines()[:2])
    return int(fields[b"pos"]), int(fields[b"flags"], 8)


def _signed(fd: int) -> int:
    """Read an argument register as the C int that it is."""
    fd &= 0xFFFFFFFF
    return fd - (1 << 32) if fd >= 1 << 31 else fd


def resolve(tid: int, dirfd: int, raw: bytes, *, follow: bool, empty: bool = False) -> bytes:
    """Return the real absolute path that a task means; b"" where its directory does not exist.

    The kernel resolves all but the last name, from the task's own working directory or *dirfd*. The
    last name is followed when *follow* says so; *empty* allows an empty path that means *dirfd*.
    """
    dirfd = _signed(dirfd)
    if not raw:
        return descriptor_path(tid, dirfd) if empty else b""
    for prefix, own in _SELF.items():
        if raw.startswith(prefix):
            raw = own % tid + raw[len(prefix) :]
    if raw in _SELF_NAMES:
        raw = b"/proc/%d/fd/%s" % (tid, _SELF_NAMES[raw])
    base = b"/proc/%d/cwd" % tid if dirfd == abi.AT_FDCWD else b"/proc/%d/fd/%d" % (tid, dirfd)
    head, _, tail = raw.rstrip(b"/").rpartition(b"/")
    if tail in (b"", b".", b".."):
        return _directory(b"/" if not tail else raw if raw.startswith(b"/") else base + b"/" + raw)
    if raw.startswith(b"/"):
        parent = _directory(head or b"/")
    else:
        parent = _directory(base + b"/" + head if head else base)
    if not parent:
        return b""
    path = parent.rstrip(b"/") + b"/" + tail
    return _follow(path) if follow else path


def _follow(path: bytes) -> bytes:
    try:
        text = os.readlink(path)
    except OSError:
        return path  # not a symbolic link, or nothing there yet
    if path.startswith(b"/proc/") and text.startswith(b"/"):
        return text  # a descriptor: the link says where it leads, and may not be walked by name
    return os.path.realpath(path)


def _directory(path: bytes) -> bytes:
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.readlink(b"/proc/self/fd/%d" % fd)
    finally:
        os.close(fd)
