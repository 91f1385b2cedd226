"""What a pipeline mounted in its box: a file system of the user's may lie there, not ours to remove."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

_MOUNTS = "/proc/self/mountinfo"
_MNT_DETACH = 2  # umount2(2)
_POINT = 4  # field of a mount's line (proc_pid_mountinfo(5))
_ESCAPED = re.compile(rb"[\t\n \\]")
_libc = ctypes.CDLL(None, use_errno=True)


def below(root: str | os.PathLike[str]) -> list[str]:
    """Return where something is mounted in a directory, the lowest first, or on it if it is its own mount."""
    top = _ESCAPED.sub(lambda found: b"\\%03o" % ord(found[0]), os.fsencode(os.path.realpath(root)))
    try:
        listed = Path(_MOUNTS).read_bytes()
    except OSError:  # no Linux, or no /proc: nothing can be told
        return []
    if b" " + top + b"/" not in listed:  # the usual case, for the price of a search
        return []
    points = [line.split(b" ")[_POINT] for line in listed.splitlines()]
    within = [point for point in points if point.startswith(top + b"/")]
    return [os.fsdecode(re.sub(rb"\\([0-7]{3})", _octal, point)) for point in reversed(within)]


def detach(root: str | os.PathLike[str]) -> list[str]:
    """Unmount all that is mounted in a directory; return where that was."""
    points = below(root)
    for point in points:
        if _libc.umount2(os.fsencode(point), _MNT_DETACH) == 0:
            continue
        for tool in ("fusermount3", "fusermount"):  # a user's own mount, which he may undo by it alone
            if shutil.which(tool):
                with contextlib.suppress(OSError):
                    subprocess.run([tool, "-u", "-z", "--", point], capture_output=True, check=False)
    return points


def _octal(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 8)])
