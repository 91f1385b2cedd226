"""Large files of a box that no run has touched: from one trial to the next they are kept, not copied anew.

A file counts as untouched where no op has named it, or a directory above it, since it was laid there, where
nothing was out of sight, and where it is the same inode of the same size, mode and times. Its digest is
known.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from outlive_harness.disk.removal import remove_tree
from outlive_harness.results.ops import Op

#: Files of fewer bytes are copied: that takes less than to think about it.
LARGE = 1 << 20


class _Laid(NamedTuple):
    """A file as it was laid."""

    inode: int
    size: int
    mode: int
    written: int
    changed: int


class UnchangedFiles:
    """The large files of one worker's box.

    Args:
        box: the box.
        shelf: where they are while the box is made anew: a directory on the same file system.
    """

    def __init__(self, box: Path, shelf: Path) -> None:
        self._box, self._shelf = str(box), shelf
        self._source: Path | None = None
        self._laid: dict[str, _Laid] = {}
        self._digests: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._laid)

    def note(self, op: Op) -> None:
        """Take an op that is about to run: what it names may change."""
        for path in (op.path, op.target):
            touched = [one for one in self._laid if f"{one}/".startswith(f"{path}/")] if path else ()
            for one in touched:
                del self._laid[one]

    def distrust(self) -> None:
        """Take none to be untouched: something ran that was not seen."""
        self._laid.clear()

    def is_intact(self, path: str, info: os.stat_result) -> bool:
        """Tell whether a file of the box is as it was laid."""
        return self._laid.get(path) == _as_laid(info)

    def digest(self, path: str, info: os.stat_result) -> str | None:
        """Return the digest of a file of the box, if it is intact and was digested before."""
        return self._digests.get(path) if self.is_intact(path, info) else None

    def digested(self, path: str, info: os.stat_result, digest: str) -> None:
        """Take the digest of a file of the box."""
        if self.is_intact(path, info):
            self._digests[path] = digest

    def shelve(self, source: Path | None) -> dict[str, str]:
        """Take out of the box what is intact and comes from *source*: path on the shelf, by path."""
        found: dict[str, str] = {}
        if self._laid and source == self._source:
            remove_tree(self._shelf)
            self._shelf.mkdir()
            for path in list(self._laid):
                where = f"{self._box}/{path}"
                try:
                    if self.is_intact(path, os.lstat(where)):
                        found[path] = f"{self._shelf}/{len(found)}"
                        os.rename(where, found[path])
                except OSError:
                    found.pop(path, None)
        else:
            self._digests.clear()
        self._source = source
        self._laid.clear()
        return found

    def lay(self, path: str) -> None:
        """Take it that a file of the box is as that of the source, attributes too, if it is a large one."""
        info = os.lstat(f"{self._box}/{path}")
        if stat.S_ISREG(info.st_mode) and info.st_size >= LARGE and info.st_nlink == 1:
            self._laid[path] = _as_laid(info)


def _as_laid(info: os.stat_result) -> _Laid:
    return _Laid(info.st_ino, info.st_size, info.st_mode, info.st_mtime_ns, info.st_ctime_ns)
