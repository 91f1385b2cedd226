"""File systems that a pipeline mounted in its box: their files must not be removed with the box."""

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

from outlive_harness import abi

_MOUNTS = "/proc/self/mountinfo"
_NUMBER, _POINT, _SOURCE = 0, 4, -2  # fields of a line (proc_pid_mountinfo(5))
_ESCAPED = re.compile(rb"[\t\n \\]")
_libc = ctypes.CDLL(None, use_errno=True)


class Mount(NamedTuple):
    """A mount: its number, its mount point, and what is mounted there, such as a device."""

    number: int
    point: str
    source: str


class _Listed:
    """The mounts that this process sees, read again if the kernel reports a change."""

    def __init__(self) -> None:
        self._seer = (0, 0)
        self._fd = -1
        self._text = b""

    def text(self) -> bytes:
        """Return the lines of all mounts.

        Raises:
            OSError: this is not Linux, or /proc is missing.
        """
        seer = os.getpid(), os.stat("/proc/self/ns/mnt").st_ino
        if seer != self._seer:  # forked since, so the descriptor may be reused; or in another namespace
            self._fd = os.open(_MOUNTS, os.O_RDONLY | os.O_CLOEXEC)
            self._poller = select.poll()
            self._poller.register(self._fd, select.POLLIN | select.POLLOUT | select.POLLPRI)
            self._seer = seer
        elif self._poller.poll(0) == [(self._fd, select.POLLIN)]:
            return self._text  # without a report of changes the file would be ready for writing, too
        os.lseek(self._fd, 0, os.SEEK_SET)
        parts = iter(lambda: os.read(self._fd, 1 << 16), b"")
        self._text = b"".join(parts)
        return self._text


_listed = _Listed()


def below(root: str | os.PathLike[str] | int) -> list[Mount]:
    """Return the mounts on a directory or in it, the deepest first; *root* may be a descriptor."""
    try:
        top = _ESCAPED.sub(lambda found: b"\\%03o" % ord(found[0]), _real(root))
        text = _listed.text()
    except OSError:  # the mounts cannot be read
        return []
    if b" " + top not in text:  # the usual case, and fast
        return []
    lines = [line.split(b" ") for line in text.splitlines()]
    return [
        Mount(int(line[_NUMBER]), unescaped(line[_POINT]), unescaped(line[_SOURCE]))
        for line in reversed(lines)
        if (line[_POINT] + b"/").startswith(top + b"/")
    ]


def _real(root: str | os.PathLike[str] | int) -> bytes:
    """Return the real path of a directory.

    Raises:
        OSError: /proc is missing.
    """
    return (
        os.readlink(b"/proc/self/fd/%d" % root)
        if isinstance(root, int)
        else os.fsencode(os.path.realpath(root))
    )


def detach(root: str | os.PathLike[str] | int, spared: Collection[Mount] = ()) -> list[str]:
    """Unmount all mounts on a directory or in it, except the spared ones; return their mount points.

    *root* is as in below(). No link below it is followed.
    """
    points = [one.point for one in below(root) if one not in spared]
    for point in points:
        if _unmount(root, point):
            continue
        for tool in ("fusermount3", "fusermount"):  # only this tool may unmount a user's own mount
            if shutil.which(tool):
                with contextlib.suppress(OSError):
                    subprocess.run([tool, "-u", "-z", "--", point], capture_output=True, check=False)
    return points


def _unmount(root: str | os.PathLike[str] | int, point: str) -> bool:
    top = os.fsdecode(_real(root))
    if point == top:  # the directory under the mount cannot be opened
        return bool(_libc.umount2(os.fsencode(point), abi.MNT_DETACH | abi.UMOUNT_NOFOLLOW) == 0)
    with contextlib.suppress(OSError), _descended(root, os.path.relpath(point, top)) as fd:
        return bool(_libc.umount2(b"/proc/self/fd/%d" % fd, abi.MNT_DETACH) == 0)
    return False


@contextlib.contextmanager
def _descended(root: str | os.PathLike[str] | int, names: str) -> Iterator[int]:
    """Open the file at a path below a directory, following no link."""
    fd = os.dup(root) if isinstance(root, int) else os.open(root, os.O_PATH)
    try:
        for name in names.split("/"):
            lower = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = lower
        yield fd
    finally:
        os.close(fd)


def unescaped(field: bytes) -> str:
    """Return a field of a line without its escapes."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field))
