"""Reading a task that stands still: its memory, its descriptors, the paths that it means.

Sources: process_vm_readv(2), proc_pid_fd(5), proc_pid_fdinfo(5), path_resolution(7).
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from outlive_harness.trace import Seen

from . import abi

_PAGE = 4096
_PATH_MAX = 4096
#: ``/proc/self`` and its aliases mean the task, not the one who reads its path.
_SELF = {
    b"/proc/self/": b"/proc/%d/",
    b"/proc/thread-self/": b"/proc/%d/",
    b"/dev/fd/": b"/proc/%d/fd/",
}
_OWN = (b"/proc/self", b"/proc/thread-self")
_MOST_LINKS = 40  # path_resolution(7)
_DOUBLED = re.compile(rb"/(\.?/)+")
_SELF_NAMES = {b"/dev/stdin": b"0", b"/dev/stdout": b"1", b"/dev/stderr": b"2"}
#: Errors of a path that the task gets as well.
_ITS_OWN = frozenset({errno.ENOENT, errno.ESRCH, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_PIECE = 1 << 20
#: The kernel moves no more than this in one call (read(2), write(2)).
MOST = 0x7FFFF000


class Place(NamedTuple):
    """A file that a task means.

    Attributes:
        path: its real absolute path; b"" where its directory does not exist.
        where: what this process can stat it by: the path, or a descriptor's link under ``/proc``,
            which leads to the file even when it has no name (any more).
    """

    path: bytes
    where: bytes

    def look(self) -> Seen | None:
        """Return the file as it stands now; None if there is none."""
        if not self.where:
            return None
        try:
            info = os.stat(self.where, follow_symlinks=self.where.startswith(b"/proc/"))
        except OSError:
            return None
        return Seen(info.st_dev, info.st_ino, info.st_mode, info.st_nlink, info.st_size)


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_libc = ctypes.CDLL(None, use_errno=True)


_local, _remote = _Iovec(), _Iovec()
_local_at, _remote_at = ctypes.byref(_local), ctypes.byref(_remote)
_readv: Any = getattr(_libc, "process_vm_readv", None)  # Linux has it
if _readv is not None:
    number, pointer = ctypes.c_ulong, ctypes.c_void_p
    _readv.argtypes = (ctypes.c_int, pointer, number, pointer, number, number)
    _readv.restype = ctypes.c_ssize_t
#: Short reads, of which there is one a path, share a buffer: a worker has one thread.
_SHORT = 256
_short = ctypes.create_string_buffer(_SHORT)
_into_short = ctypes.byref(_Iovec(ctypes.addressof(_short), _SHORT))


def read_memory(tid: int, address: int, length: int) -> bytes:
    """Read up to *length* bytes of a task's memory, as far as they are mapped.

    Raises:
        OSError: the task is gone, or may not be read (setuid programs, ptrace restrictions).
    """
    if length <= 0:
        return b""
    buffer = _short if length <= _SHORT else ctypes.create_string_buffer(length)
    start = ctypes.addressof(buffer)
    done = 0
    while done < length:
        # One page at a time to its end: a transfer that meets an unmapped page gives nothing at all.
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
    # Nearly all paths come with one call; it stops at the end of the page, as the next may not be there.
    room = _PAGE - address % _PAGE
    _remote.base, _remote.length = address, min(_SHORT, room)
    got = _readv(tid, _into_short, 1, _remote_at, 1, 0)
    if got > 0:
        found: bytes = _short.value  # as far as the first NUL
        if len(found) < got:
            return found
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


def read_parts(tid: int, parts: list[tuple[int, int]]) -> Iterator[bytes]:
    """Yield what lies in (address, length) parts of a task's memory, as a write would take it.

    Raises:
        OSError: the memory cannot be read.
    """
    left = MOST
    for start, length in parts:
        end = start + min(length, left)
        left -= end - start
        for address in range(start, end, _PIECE):
            want = min(end - address, _PIECE)
            try:
                data = read_memory(tid, address, want)
            except OSError as error:
                if error.errno == errno.EFAULT:  # there the write ends too
                    return
                raise
            yield data
            if len(data) < want:
                return


def read_file(fd: int, offset: int, length: int) -> Iterator[bytes]:
    """Yield what a file holds from *offset* on, up to *length* bytes and no further than its end."""
    while length > 0:
        data = os.pread(fd, min(length, _PIECE), offset)
        if not data:
            return
        yield data
        offset += len(data)
        length -= len(data)


def open_source(tid: int, fd: int) -> int:
    """Open for reading what a task's descriptor is open on.

    Raises:
        OSError: this process may not, or it is nothing that can be opened.
    """
    return os.open(b"/proc/%d/fd/%d" % (tid, fd), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def shared_maps(tid: int, start: int, stop: int) -> list[Place]:
    """Return the files of which a task's memory between two addresses is a shared map (proc_pid_maps(5)).

    Raises:
        OSError: it is gone.
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
    """Return the file mode creation mask of a task.

    Raises:
        OSError: it is gone.
    """
    with open(f"/proc/{tid}/status", "rb", buffering=0) as status:
        for line in status.read(256).splitlines():
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return -1  # before Linux 4.7


def handled_signals(tid: int) -> int:
    """Return the signals that a task blocks, ignores or catches, as bits; all of them if it is gone."""
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
    """Tell whether a task has a capability in its own user namespace.

    Raises:
        OSError: it is gone.
    """
    with open(f"/proc/{tid}/status", "rb") as status:
        held = next(line for line in status if line.startswith(b"CapEff:"))
    return bool(int(held.split()[1], 16) >> capability & 1)


class _StatFs(ctypes.Structure):
    _fields_ = (("type", ctypes.c_long), ("rest", ctypes.c_char * 256))


def file_system(path: bytes) -> int:
    """Return the magic number of the file system that a path is on, as statfs(2) gives it; 0 if unknown."""
    info = _StatFs()
    return int(info.type) if _libc.statfs(path, ctypes.byref(info)) == 0 else 0


def descriptor_path(tid: int, fd: int) -> bytes:
    """Return what the descriptor of a task is open on, as the kernel names it; b"" if it is not open.

    Raises:
        OSError: this may not be known (a task that is not dumpable), or the name is too long.
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
    """Read an argument register as the C int that it is."""
    fd &= 0xFFFFFFFF
    return fd - (1 << 32) if fd >= 1 << 31 else fd


def behind(tid: int, fd: int) -> Place:
    """Return the file that a task's descriptor is open on."""
    return Place(descriptor_path(tid, fd), b"/proc/%d/fd/%d" % (tid, fd))


def locate(tid: int, dirfd: int, raw: bytes, *, follow: bool, empty: bool = False) -> Place:
    """Return the file that a task means by a path.

    The kernel resolves all but the last name, from the task's own working directory or *dirfd*. The
    last name is followed when *follow* says so; *empty* allows an empty path that means *dirfd*.
    """
    dirfd = signed(dirfd)
    base = b"/proc/%d/cwd" % tid if dirfd == abi.AT_FDCWD else b"/proc/%d/fd/%d" % (tid, dirfd)
    if not raw:
        if not empty:
            return Place(b"", b"")
        return Place(_directory(tid, base), base) if dirfd == abi.AT_FDCWD else behind(tid, dirfd)
    if raw.startswith((b"/proc/", b"/dev/", b"//", b"/./")):
        raw = _of_the_task(tid, _DOUBLED.sub(b"/", raw))
    head, _, tail = raw.rstrip(b"/").rpartition(b"/")
    if tail in (b"", b".", b".."):
        path = _directory(tid, b"/" if not tail else raw if raw.startswith(b"/") else base + b"/" + raw)
        return Place(path, path)
    if raw.startswith(b"/"):
        parent = _directory(tid, head or b"/")
    elif head or dirfd != abi.AT_FDCWD:
        parent = _directory(tid, base + b"/" + head if head else base)
    else:
        parent = _named(base)  # a directory in any case
    if not parent:
        return Place(b"", b"")
    path = parent.rstrip(b"/") + b"/" + tail
    return _follow(path) if follow else Place(path, path)


def through_itself(tid: int, dirfd: int, raw: bytes, *, follow: bool) -> Place | None:
    """Return the file that a task means where a link on the way leads through ``/proc/self``.

    To the kernel that is whoever walks, so that locate() comes to files of this process. None where no link
    leads there, or to nothing that can be.
    """
    todo = raw.rstrip(b"/").split(b"/")[::-1]
    here = b"" if raw.startswith(b"/") else directory_of(tid, dirfd)
    own, links = False, 0
    while todo:
        name = todo.pop()
        if name in (b"", b".", b".."):
            here = here.rpartition(b"/")[0] if name == b".." else here
            continue
        path = here + b"/" + name
        if path in _OWN:
            here, own = b"/proc/%d" % tid, True
            continue
        text = _named(path) if todo or follow else b""
        here = path
        if text.startswith(b"/") and here.startswith(b"/proc/"):  # what the kernel knows, by whatever name
            if not todo:
                return Place(text, here) if own else None
            here = text.rstrip(b"/")
        elif text and (links := links + 1) <= _MOST_LINKS:
            todo += text.split(b"/")[::-1]
            here = b"" if text.startswith(b"/") else here.rpartition(b"/")[0]
    if not own or links > _MOST_LINKS or not _directory(tid, here.rpartition(b"/")[0] or b"/"):
        return None
    return Place(here, here)


def directory_of(tid: int, dirfd: int) -> bytes:
    """Return the directory at which a relative path of a task begins."""
    return _named(b"/proc/%d/cwd" % tid) if signed(dirfd) == abi.AT_FDCWD else behind(tid, dirfd).path


def program_of(tid: int) -> bytes:
    """Return the executable that a task runs; b"" if it is gone."""
    return _named(b"/proc/%d/exe" % tid)


def _of_the_task(tid: int, raw: bytes) -> bytes:
    """Return a path that means to us what *raw* means to the task itself."""
    for prefix, own in _SELF.items():
        if raw.startswith(prefix):
            raw = own % tid + raw[len(prefix) :]
    return b"/proc/%d/fd/%s" % (tid, _SELF_NAMES[raw]) if raw in _SELF_NAMES else raw


def _follow(path: bytes) -> Place:
    try:
        text = os.readlink(path)
    except OSError:
        return Place(path, path)  # not a symbolic link, or nothing there yet
    if path.startswith(b"/proc/") and text.startswith(b"/"):
        return Place(text, path)  # a descriptor: the link says where it leads, and may not be walked by name
    real = os.path.realpath(path)
    return Place(real, real)


def _named(link: bytes) -> bytes:
    """Return what a link under ``/proc`` names; b"" if that cannot be known."""
    try:
        return os.readlink(link)
    except OSError:
        return b""


def _directory(tid: int, path: bytes) -> bytes:
    """Return the real path of a directory; b"" where there is none, or a task may not go there.

    Raises:
        OSError: it can be that the task may, and only we may not.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _ITS_OWN or (error.errno == errno.EACCES and not _has_other_rights(tid)):
            return b""
        raise
    try:
        return os.readlink(b"/proc/self/fd/%d" % fd)
    finally:
        os.close(fd)


def _has_other_rights(tid: int) -> bool:
    """Tell whether a task is in another user namespace, where it may do more than we may."""
    try:
        return not os.path.samestat(os.stat(f"/proc/{tid}/ns/user"), os.stat("/proc/self/ns/user"))
    except FileNotFoundError:  # it is gone, or no kernel with such
        return False
