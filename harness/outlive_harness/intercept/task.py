"""What the kernel shows of a task that is stopped: its descriptors, its status, its memory maps.

Sources: proc_pid_fd(5), proc_pid_fdinfo(5), proc_pid_maps(5), proc_pid_status(5), statfs(2).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from typing import NamedTuple

from outlive_harness.results.ops import Seen

_PIECE = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)


class Place(NamedTuple):
    """A file that a task means.

    Attributes:
        path: its real absolute path; b"" if its directory does not exist.
        where: a path by which this process can stat it: the same, or a descriptor's link under ``/proc``,
            which leads to the file even if it has no name (any more).
    """

    path: bytes
    where: bytes

    def look(self) -> Seen | None:
        """Return the file's status; None if there is no file."""
        if not self.where:
            return None
        try:
            info = os.stat(self.where, follow_symlinks=self.where.startswith(b"/proc/"))
        except OSError:
            return None
        return Seen(info.st_dev, info.st_ino, info.st_mode, info.st_nlink, info.st_size)


def read_file(fd: int, offset: int, length: int) -> Iterator[bytes]:
    """Yield up to *length* bytes of a file from *offset* on, no further than its end."""
    while length > 0:
        data = os.pread(fd, min(length, _PIECE), offset)
        if not data:
            return
        yield data
        offset += len(data)
        length -= len(data)


def open_source(tid: int, fd: int) -> int:
    """Open the file behind a task's descriptor for reading.

    Raises:
        OSError: this process has no right to read it, or it cannot be opened.
    """
    return os.open(b"/proc/%d/fd/%d" % (tid, fd), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def shared_maps(tid: int, start: int, stop: int) -> list[Place]:
    """Return the files that a task maps shared between two addresses (proc_pid_maps(5)).

    Raises:
        OSError: the task is gone.
    """
    found = []
    with open(f"/proc/{tid}/maps", "rb") as maps:
        for line in maps:
            span, rights, *_, path = (
                line.rstrip(b"\n").split(None, 5) if line.count(b"/") else (b"", b"", b"")
            )
            if rights.endswith(b"s") and _overlaps(span, start, stop):
                path = path.replace(b"\\012", b"\n")
                found.append(Place(path, b"/proc/%d/map_files/%s" % (tid, span)))
    return found


def _overlaps(span: bytes, start: int, stop: int) -> bool:
    first, last = (int(address, 16) for address in span.split(b"-"))
    return first < stop and start < last


def umask(tid: int) -> int:
    """Return the umask of a task; -1 if the kernel does not show it.

    Raises:
        OSError: the task is gone.
    """
    with open(f"/proc/{tid}/status", "rb", buffering=0) as status:
        for line in status.read(256).splitlines():
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return -1  # before Linux 4.7


def handled_signals(tid: int) -> int:
    """Return the signals that a task blocks, ignores or catches, as bits; all of them if the task is gone."""
    found = 0
    try:
        with open(f"/proc/{tid}/status", "rb") as status:
            for line in status:
                if line.startswith((b"SigBlk:", b"SigIgn:", b"SigCgt:")):
                    found |= int(line.split()[1], 16)
    except OSError:
        return ~0
    return found


def is_capable(tid: int, capability: int) -> bool:
    """Return whether a task has a capability in its own user namespace.

    Raises:
        OSError: the task is gone.
    """
    with open(f"/proc/{tid}/status", "rb") as status:
        held = next(line for line in status if line.startswith(b"CapEff:"))
    return bool(int(held.split()[1], 16) >> capability & 1)


class _StatFs(ctypes.Structure):
    _fields_ = (("type", ctypes.c_long), ("rest", ctypes.c_char * 256))


def file_system(path: bytes) -> int:
    """Return the magic number of the file system that a path is on (statfs(2)); 0 if it is unknown."""
    info = _StatFs()
    return int(info.type) if _libc.statfs(path, ctypes.byref(info)) == 0 else 0


def descriptor_path(tid: int, fd: int) -> bytes:
    """Return the path that a task's descriptor is open on, as the kernel names it; b"" if it is not open.

    Raises:
        OSError: this process has no right to see it (the task is not dumpable), or the name is too long.
    """
    try:
        return os.readlink(b"/proc/%d/fd/%d" % (tid, fd))
    except (FileNotFoundError, ProcessLookupError):
        return b""


def descriptor_info(tid: int, fd: int) -> tuple[int, int]:
    """Return (offset in bytes, open flags) of a task's descriptor."""
    info = os.open(b"/proc/%d/fdinfo/%d" % (tid, fd), os.O_RDONLY | os.O_CLOEXEC)
    try:
        words = os.read(info, 64).split(None, 4)  # pos: 0 flags: 0100001
    finally:
        os.close(info)
    return int(words[1]), int(words[3], 8)


def signed(fd: int) -> int:
    """Return an argument register as a C int."""
    fd &= 0xFFFFFFFF
    return fd - (1 << 32) if fd >= 1 << 31 else fd


def behind(tid: int, fd: int) -> Place:
    """Return the file that a task's descriptor is open on."""
    return Place(descriptor_path(tid, fd), b"/proc/%d/fd/%d" % (tid, fd))
