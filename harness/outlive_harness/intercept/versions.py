"""Which contents of an output were ever whole.

A content is whole at a path when no process has the file open for writing while it stands there:
it was renamed or linked into place finished, or it stands there, with no writer left, when the path
is opened again, truncated, unlinked or renamed. An empty content is never whole by that alone: many programs
create a file, close it, and open it again to write. Whether somebody writes is asked of the kernel: a read
lease (fcntl(2), F_SETLEASE) is refused while the file is open for writing anywhere, in any process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from outlive_harness.disk.tree import digest_file
from outlive_harness.trace import INSTALLS, Op

from . import abi


def has_writer(path: str) -> bool:
    """Tell whether any process has the file open for writing.

    Where the file system knows no leases the answer is no: then a content counts as whole, and a
    torn one may be missed, but none is made up.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EACCES)
    finally:
        os.close(fd)
    return False


def is_closed(path: str) -> bool:
    """Tell whether nobody has a file open for writing; not so where that cannot be known."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


class Versions:
    """Watches a run and keeps, for each output path, the digests of its whole contents.

    Args:
        box: the real path of the box.
        is_output: says of a relative path whether it is one of the outputs.
        any_install: count a content that is renamed or linked into place even if a writer still has
            it open. For a run that will be cut off, where no later close can settle it.
    """

    def __init__(self, box: Path, is_output: Callable[[str], bool], *, any_install: bool = False) -> None:
        self._box = str(box)
        self._box_bytes = os.fsencode(self._box)
        self._is_output = is_output
        self._any_install = any_install
        self.known: dict[str, set[str]] = {}
        #: output paths that a file was renamed or linked to
        self.installed: set[str] = set()

    def before(self, op: Op) -> None:
        """Look at what is about to be changed by *op*; call it while the task stands still."""
        if op.kind in INSTALLS:
            for path, target in self._pairs(op.path, op.target):
                self._note(target, target)
                self._note(path, target, installed=True)
                if op.kind == "rename":
                    self._note(path, path)  # what is moved away was whole where it was
                    if op.flags & abi.RENAME_EXCHANGE:
                        # No output for that alone: it may be where an old tree waits to be removed.
                        self._note(target, path)
        elif op.kind in ("open", "unlink", "truncate"):
            self._note(op.path, op.path)

    def settle(self, paths: Iterable[str]) -> None:
        """Look at files as they stand now: at the end of a run, or while a task stands still."""
        for path in paths:
            self._note(path, path)

    def _pairs(self, source: str, target: str) -> list[tuple[str, str]]:
        """List the files that move when *source* becomes *target*; a directory brings all below it."""
        if not os.path.isdir(f"{self._box}/{source}"):
            return [(source, target)]
        top = f"{self._box}/{source}"
        return [
            (source + rest, target + rest)
            for where, _, names in os.walk(top)
            for rest in (f"{where[len(top) :]}/{name}" for name in names)
        ]

    def _note(self, at: str, as_path: str, *, installed: bool = False) -> None:
        """Keep the content at one path as a whole version of another (or the same) path."""
        if not self._is_output(as_path):
            return
        if installed:
            self.installed.add(as_path)
        full = f"{self._box}/{at}"
        if not os.path.isfile(full) or os.path.islink(full) or not os.path.getsize(full):
            return
        if (installed and self._any_install) or not has_writer(full):
            with contextlib.suppress(OSError):
                self.known.setdefault(as_path, set()).add(digest_file(full, self._box_bytes))
