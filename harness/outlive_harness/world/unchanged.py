"""Large files of a box that no run has touched: they are kept from trial to trial, not copied again.

A file counts as untouched if no op has named it or a directory above it since it was put there, no change
went unseen, and it is the same inode with the same size, mode and times. Its digest is then known.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from outlive_harness.disk.removal import remove_tree
from outlive_harness.results.ops import Op

#: Smaller files are copied: that is faster.
LARGE = 1 << 20


class _Laid(NamedTuple):
    """The status of a file when it was put there."""

    inode: int
    size: int
    mode: int
    written: int
    changed: int


class UnchangedFiles:
    """The large files of one worker's box.

    Args:
        box: the box.
        shelf: the directory that holds them while the box is made anew, on the same file system.
    """

    def __init__(self, box: Path, shelf: Path) -> None:
        self._box, self._shelf = str(box), shelf
        self._source: Path | None = None
        self._laid: dict[str, _Laid] = {}
        self._digests: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._laid)

    def note(self, op: Op) -> None:
        """Note an op that is about to run: the files that it names may change."""
        for path in (op.path, op.target):
            touched = [one for one in self._laid if f"{one}/".startswith(f"{path}/")] if path else ()
            for one in touched:
                del self._laid[one]

    def distrust(self) -> None:
        """Treat every file as touched: something ran that was not seen."""
        self._laid.clear()

    def is_intact(self, path: str, info: os.stat_result) -> bool:
        """Return whether a file of the box is untouched."""
        return self._laid.get(path) == _as_laid(info)

    def digest(self, path: str, info: os.stat_result) -> str | None:
        """Return the digest of a file of the box, if it is untouched and was digested before."""
        return self._digests.get(path) if self.is_intact(path, info) else None

    def digested(self, path: str, info: os.stat_result, digest: str) -> None:
        """Keep the digest of a file of the box."""
        if self.is_intact(path, info):
            self._digests[path] = digest

    def shelve(self, source: Path | None) -> dict[str, str]:
        """Move the untouched files of *source* to the shelf; return their paths there, by path."""
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
        """Note that a file of the box, if it is large, equals the source's, attributes included."""
        info = os.lstat(f"{self._box}/{path}")
        if stat.S_ISREG(info.st_mode) and info.st_size >= LARGE and info.st_nlink == 1:
            self._laid[path] = _as_laid(info)


def _as_laid(info: os.stat_result) -> _Laid:
    return _Laid(info.st_ino, info.st_size, info.st_mode, info.st_mtime_ns, info.st_ctime_ns)
