"""Which contents of an output were ever whole.

A content is whole if no process has the file open for writing when it is renamed or linked into place, or
when its path is next opened, truncated, unlinked or renamed. An empty content is never whole by that alone:
many programs create a file, close it, and open it again to write. The kernel knows the writers: it refuses a
read lease (fcntl(2), F_SETLEASE) while any process has the file open for writing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from outlive_harness import abi
from outlive_harness.disk.tree import digest_file
from outlive_harness.results.ops import Op


def has_writer(path: str) -> bool:
    """Return whether any process has a file open for writing.

    On a file system without leases the answer is False: a content then counts as whole, so a torn one may be
    missed, but none is made up.
    """
    return _is_written(path) is True


def is_closed(path: str) -> bool:
    """Return whether no process has a file open for writing; False if that cannot be known."""
    return _is_written(path) is False


def _is_written(path: str) -> bool | None:
    """Return whether any process has a file open for writing; None if that cannot be known."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno in (errno.EAGAIN, errno.EACCES) else None
    finally:
        os.close(fd)
    return False


class Noted(NamedTuple):
    """What Versions noted, as plain data: see there."""

    known: dict[str, set[str]]
    installed: set[str]


class Versions:
    """Keeps, for each output path of a run, the digests of its whole contents.

    Args:
        box: the real path of the box.
        is_output: returns whether a relative path is one of the outputs.
        digest: returns the digest of what is at a path (the first argument) as an output (the second), or
            None if that is nothing; by default that of a file's bytes.
        any_install: count a content that is renamed or linked into place even if a writer still has it
            open: for a run that is killed, where no later close can settle it.

    Attributes:
        known: digests by path.
        installed: output paths that a file was renamed or linked to.
    """

    def __init__(
        self,
        box: Path,
        is_output: Callable[[str], bool],
        *,
        digest: Callable[[str, str], str | None] | None = None,
        any_install: bool = False,
    ) -> None:
        self._box = str(box)
        self._box_bytes = os.fsencode(self._box)
        self._is_output = is_output
        self._any_install = any_install
        self._digest = digest
        self.known: dict[str, set[str]] = {}
        self.installed: set[str] = set()

    def noted(self) -> Noted:
        """Return what was noted so far."""
        return Noted(self.known, self.installed)

    def before(self, op: Op) -> None:
        """Note the contents that *op* is about to change, while its task is stopped."""
        if op.traits.installs:
            for path, target in self._pairs(op.path, op.target):
                self._note(target, target)
                self._note(path, target, installed=True)
                if op.kind == "rename":
                    self._note(path, path)  # the content that leaves was whole there
                    if op.flags & abi.RENAME_EXCHANGE:
                        # Not installed by that alone: an old tree may wait here to be removed.
                        self._note(target, path)
        elif op.kind in ("open", "unlink", "truncate"):
            self._note(op.path, op.path)

    def settle(self, paths: Iterable[str]) -> None:
        """Note the contents of files at the end of a run, or while a task is stopped."""
        for path in paths:
            self._note(path, path)

    def _pairs(self, source: str, target: str) -> list[tuple[str, str]]:
        """List the files that move when *source* becomes *target*; a directory moves all below it."""
        if not os.path.isdir(f"{self._box}/{source}"):
            return [(source, target)]
        top = f"{self._box}/{source}"
        return [(source, target)] + [
            (source + rest, target + rest)
            for where, directories, names in os.walk(top)
            for rest in (f"{where[len(top) :]}/{name}" for name in (*directories, *names))
        ]

    def _note(self, at: str, as_path: str, *, installed: bool = False) -> None:
        """Note the content at one path as a whole version of another, or the same, path."""
        if not self._is_output(as_path):
            return
        if installed:
            self.installed.add(as_path)
        full = f"{self._box}/{at}"
        with contextlib.suppress(OSError):  # there is no file, or it is gone meanwhile
            info = os.lstat(full)
            if stat.S_ISDIR(info.st_mode):
                is_whole = installed and self._digest is not None
            else:
                is_filled = stat.S_ISREG(info.st_mode) and info.st_size > 0
                is_whole = is_filled and ((installed and self._any_install) or not has_writer(full))
            digest = self._digested(full, as_path) if is_whole else None
            if digest is not None:
                self.known.setdefault(as_path, set()).add(digest)

    def _digested(self, full: str, as_path: str) -> str | None:
        if self._digest is not None:
            return self._digest(full, as_path)
        return digest_file(full, self._box_bytes)
