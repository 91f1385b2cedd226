"""What a pipeline mounted in its box: a file system of the user's may lie there, not ours to remove."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import shutil
import subprocess
from collections.abc import Collection, Iterator
from typing import NamedTuple

_MOUNTS = "/proc/self/mountinfo"
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8  # umount2(2)
_NUMBER, _POINT = 0, 4  # fields of a mount's line (proc_pid_mountinfo(5))
_ESCAPED = re.compile(rb"[\t\n \\]")
_libc = ctypes.CDLL(None, use_errno=True)


class Mount(NamedTuple):
    """A mount: its number, and where it is."""

    number: int
    point: str


class _Listed:
    """The mounts that this process sees, read anew where the kernel says that they changed."""

    def __init__(self) -> None:
        self._seer = (0, 0)
        self._fd = -1
        self._text = b""

    def text(self) -> bytes:
        """Return the lines of all mounts.

        Raises:
            OSError: there is no Linux, or no /proc.
        """
        seer = os.getpid(), os.stat("/proc/self/ns/mnt").st_ino
        if seer != self._seer:  # forked since, where that number may be another file; or another namespace
            self._fd = os.open(_MOUNTS, os.O_RDONLY | os.O_CLOEXEC)
            self._poller = select.poll()
            self._poller.register(self._fd, select.POLLIN | select.POLLOUT | select.POLLPRI)
            self._seer = seer
        elif self._poller.poll(0) == [(self._fd, select.POLLIN)]:
            return self._text  # a file that cannot tell of changes would be ready for writing, too
        os.lseek(self._fd, 0, os.SEEK_SET)
        parts = iter(lambda: os.read(self._fd, 1 << 16), b"")
        self._text = b"".join(parts)
        return self._text


_listed = _Listed()


def below(root: str | os.PathLike[str] | int) -> list[Mount]:
    """Return what is mounted on a directory, or in it, the lowest first; a descriptor of it will do."""
    try:
        top = _ESCAPED.sub(lambda found: b"\\%03o" % ord(found[0]), _real(root))
        text = _listed.text()
    except OSError:  # nothing can be told
        return []
    if b" " + top not in text:  # the usual case, for the price of a search
        return []
    lines = [line.split(b" ") for line in text.splitlines()]
    return [
        Mount(int(line[_NUMBER]), os.fsdecode(re.sub(rb"\\([0-7]{3})", _octal, line[_POINT])))
        for line in reversed(lines)
        if (line[_POINT] + b"/").startswith(top + b"/")
    ]


def _real(root: str | os.PathLike[str] | int) -> bytes:
    """Return the real path of a directory.

    Raises:
        OSError: there is no /proc.
    """
    return (
        os.readlink(b"/proc/self/fd/%d" % root)
        if isinstance(root, int)
        else os.fsencode(os.path.realpath(root))
    )


def detach(root: str | os.PathLike[str] | int, spared: Collection[Mount] = ()) -> list[str]:
    """Unmount all that is mounted on a directory or in it, but for what is spared; return where that was.

    The directory is given as to below(). No link is followed on the way down from it.
    """
    found = [one for one in below(root) if one not in spared]
    for _, point in found:
        if _unmount(root, point):
            continue
        for tool in ("fusermount3", "fusermount"):  # a user's own mount, which he may undo by it alone
            if shutil.which(tool):
                with contextlib.suppress(OSError):
                    subprocess.run([tool, "-u", "-z", "--", point], capture_output=True, check=False)
    return [point for _, point in found]


def _unmount(root: str | os.PathLike[str] | int, point: str) -> bool:
    top = os.fsdecode(_real(root))
    if point == top:  # what lies under it cannot be asked
        return bool(_libc.umount2(os.fsencode(point), _MNT_DETACH | _UMOUNT_NOFOLLOW) == 0)
    with contextlib.suppress(OSError), _descended(root, os.path.relpath(point, top)) as fd:
        return bool(_libc.umount2(b"/proc/self/fd/%d" % fd, _MNT_DETACH) == 0)
    return False


@contextlib.contextmanager
def _descended(root: str | os.PathLike[str] | int, names: str) -> Iterator[int]:
    """Open what is at a path below a directory, through no link."""
    fd = os.dup(root) if isinstance(root, int) else os.open(root, os.O_PATH)
    try:
        for name in names.split("/"):
            lower = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = lower
        yield fd
    finally:
        os.close(fd)


def _octal(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 8)])
