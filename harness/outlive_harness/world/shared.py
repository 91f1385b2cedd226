"""Very large input files that all boxes share: hard links of one copy, until a run is about to touch one.

Only files that no op of the golden run names are shared. The supervisor stops each op before it runs, so a
file that one names is first replaced in its box by a copy of its own. A process that has the file open would
still see the shared copy: then the file is shared no more, and the run is to be repeated.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from outlive_harness.disk.copying import copy_file
from outlive_harness.disk.tree import WHOLE
from outlive_harness.results.ops import Op

#: Bytes: contents of smaller files may name the box, and are then rewritten for each.
LEAST = WHOLE

_Identity = tuple[int, int]


class SharedFileError(OSError):
    """A run would touch a shared file that it has open: it is to be repeated with a copy of its own."""


def shareable(template: Path, ops: Iterable[Op]) -> tuple[str, ...]:
    """Return the very large files below a directory that no op names, nor a directory above them."""
    named = {path for op in ops for path in (op.path, op.target) if path}
    return tuple(
        path
        for path, info in _files(template)
        if info.st_size >= LEAST and info.st_nlink == 1 and info.st_mode & stat.S_IRUSR
        if not any(f"{path}/".startswith(f"{one}/") for one in named)
    )


def _files(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    for directory, _, names in os.walk(root):
        for name in names:
            info = os.lstat(os.path.join(directory, name))
            if stat.S_ISREG(info.st_mode):
                yield os.path.relpath(os.path.join(directory, name), root), info


class SharedFiles:
    """The files that one worker's box may share with a template and with other boxes.

    Args:
        box: the box.
        spare: a directory on the same file system, for a moment.

    Attributes:
        paths: their paths in the box.
        digests: digests of the shared copies, by inode.
    """

    def __init__(self, box: Path, spare: Path) -> None:
        self._box, self._spare = str(box), spare
        self._template: Path | None = None
        self.paths: frozenset[str] = frozenset()
        self.digests: dict[int, str] = {}
        #: size and time of the last change of each copy
        self._copies: dict[_Identity, tuple[int, int]] = {}

    def choose(self, template: Path, paths: Iterable[str]) -> None:
        """Share these files of a template from now on, whose copies must not change."""
        if template == self._template:
            return
        self._template, self.paths, self.digests = template, frozenset(paths), {}
        infos = [os.lstat(template / path) for path in self.paths]
        self._copies = {_identity(info): (info.st_size, info.st_mtime_ns) for info in infos}

    def has(self, info: os.stat_result) -> bool:
        """Return whether a file is a shared copy."""
        return _identity(info) in self._copies

    def is_here(self, path: str) -> bool:
        """Return whether the box has the shared copy of a file, and not one of its own."""
        if path not in self.paths:
            return False
        try:
            return self.has(os.lstat(f"{self._box}/{path}"))
        except OSError:
            return False

    def links(self, source: Path | None, paths: Iterable[str], place: Path) -> dict[str, str]:
        """Make links in the directory *place* to those files that *source* shares; return them by path."""
        found: dict[str, str] = {}
        for path in self.paths.intersection(paths) if source is not None else ():
            link = f"{place}/link{len(found)}"
            try:
                if self.has(os.lstat(f"{source}/{path}")):
                    os.link(f"{source}/{path}", link)
                    found[path] = link
            except OSError:  # it is not there, or its file system has no links
                continue
        return found

    def own(self, path: str) -> None:
        """Replace a shared file in the box by a copy: the run is about to touch it.

        Raises:
            SharedFileError: a process has it open; it is not shared any more.
        """
        where = f"{self._box}/{path}"
        if _is_open(os.lstat(where)):
            self.paths -= {path}
            why = "it was open when the run was about to change it, and its copy is shared"
            raise SharedFileError(errno.EBUSY, why, path)
        self._spare.mkdir(exist_ok=True)
        copy = self._spare / "own"
        copy_file(where, copy)
        parent = os.path.dirname(where)
        info = os.stat(parent)
        os.rename(copy, where)
        os.utime(parent, ns=(info.st_atime_ns, info.st_mtime_ns))

    def changed(self) -> str:
        """Return a file of which the shared copy has changed all the same; "" if there is none."""
        for path in self.paths:
            assert self._template is not None
            info = os.lstat(self._template / path)
            if self._copies.get(_identity(info)) != (info.st_size, info.st_mtime_ns):
                return path
        return ""


def _identity(info: os.stat_result) -> _Identity:
    return info.st_dev, info.st_ino


def _is_open(info: os.stat_result) -> bool:
    """Return whether a process below this one has a file open, or mapped."""
    return any(_holds(child.pid, info) for child in psutil.Process().children(recursive=True))


def _holds(pid: int, info: os.stat_result) -> bool:
    try:
        names = [f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")]
        with open(f"/proc/{pid}/maps", "rb") as maps:
            mapped = {line.split(maxsplit=5)[4] for line in maps}
    except OSError:  # it is gone
        return False
    if b"%d" % info.st_ino in mapped:
        return True
    for name in names:
        try:
            if _identity(os.stat(name)) == _identity(info):
                return True
        except OSError:
            continue
    return False
