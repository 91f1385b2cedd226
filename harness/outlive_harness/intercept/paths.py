"""The files that a task means by its paths: as the kernel resolves them for it (path_resolution(7))."""

from __future__ import annotations

import errno
import os
import re

from outlive_harness import abi

from .task import Place, behind, signed

#: Links in a path that mean the task itself, and not the process that resolves the path.
_SELF = {
    b"/proc/self/": b"/proc/%d/",
    b"/proc/thread-self/": b"/proc/%d/",
    b"/dev/fd/": b"/proc/%d/fd/",
}
_OWN = (b"/proc/self", b"/proc/thread-self")
_DOUBLED = re.compile(rb"/(\.?/)+")
_SELF_NAMES = {b"/dev/stdin": b"0", b"/dev/stdout": b"1", b"/dev/stderr": b"2"}
#: Errors of a path that the task gets as well.
_SHARED_ERRORS = frozenset({errno.ENOENT, errno.ESRCH, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})


def locate(tid: int, dirfd: int, raw: bytes, *, follow: bool, empty: bool = False) -> Place:
    """Return the file that a task means by a path.

    The kernel resolves all names but the last, from the task's own working directory or *dirfd*. With
    *follow* the last name is resolved too; with *empty* an empty path means *dirfd*.
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
        parent = _named(base)  # always a directory
    if not parent:
        return Place(b"", b"")
    path = parent.rstrip(b"/") + b"/" + tail
    return _follow(path) if follow else Place(path, path)


def through_itself(tid: int, dirfd: int, raw: bytes, *, follow: bool) -> Place | None:
    """Return the file that a task means if a link in its path leads through ``/proc/self``; else None.

    The kernel takes ``/proc/self`` for the process that resolves the path, so locate() would find files of
    this process.
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
        if text.startswith(b"/") and here.startswith(b"/proc/"):  # a link of the kernel's own
            if not todo:
                return Place(text, here) if own else None
            here = text.rstrip(b"/")
        elif text and (links := links + 1) <= abi.MAX_SYMLINKS:
            todo += text.split(b"/")[::-1]
            here = b"" if text.startswith(b"/") else here.rpartition(b"/")[0]
    if not own or links > abi.MAX_SYMLINKS or not _directory(tid, here.rpartition(b"/")[0] or b"/"):
        return None
    return Place(here, here)


def directory_of(tid: int, dirfd: int) -> bytes:
    """Return the directory that a relative path of a task begins at."""
    return _named(b"/proc/%d/cwd" % tid) if signed(dirfd) == abi.AT_FDCWD else behind(tid, dirfd).path


def program_of(tid: int) -> bytes:
    """Return the executable that a task runs; b"" if it is gone."""
    return _named(b"/proc/%d/exe" % tid)


def _of_the_task(tid: int, raw: bytes) -> bytes:
    """Return the path by which this process finds what the task finds by *raw*."""
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
        return Place(text, path)  # a descriptor's link: its text is its target, and must not be resolved
    real = os.path.realpath(path)
    return Place(real, real)


def _named(link: bytes) -> bytes:
    """Return the target of a link under ``/proc``; b"" if it cannot be read."""
    try:
        return os.readlink(link)
    except OSError:
        return b""


def _directory(tid: int, path: bytes) -> bytes:
    """Return the real path of a directory; b"" if there is none, or the task has no right to enter it.

    Raises:
        OSError: this process has no right to enter it, but the task may have.
    """
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _SHARED_ERRORS or (error.errno == errno.EACCES and not _has_other_rights(tid)):
            return b""
        raise
    try:
        return os.readlink(b"/proc/self/fd/%d" % fd)
    finally:
        os.close(fd)


def _has_other_rights(tid: int) -> bool:
    """Return whether a task is in another user namespace, where it can have more rights than this process."""
    try:
        return not os.path.samestat(os.stat(f"/proc/{tid}/ns/user"), os.stat("/proc/self/ns/user"))
    except FileNotFoundError:  # the task is gone, or the kernel has no user namespaces
        return False
