"""Large files of a box that no run has touched: they are kept from trial to trial, not copied again.

A file counts as untouched if no op has named it or a directory above it since it was put there, no change
went unseen, and it is the same inode with the same size, mode and times. Its digest is then known.

Very large files that the golden run did not touch are not even copied once: all boxes share one copy by hard
links, and a run that is about to touch one gets a copy of its own first (see shared.py).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from outlive_harness.disk.removal import remove_tree
from outlive_harness.results.ops import Op

from .shared import SharedFiles

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
        self.shared = SharedFiles(box, shelf)
        self._laid: dict[str, _Laid] = {}
        self._digests: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._laid)

    def note(self, op: Op) -> None:
        """Note an op that is about to run: the files that it names may change.

        Raises:
            SharedFileError: the box cannot have a copy of its own of one of them.
        """
        for path in (op.path, op.target):
            touched = [one for one in self._laid if f"{one}/".startswith(f"{path}/")] if path else ()
            for one in touched:
                del self._laid[one]
                if self.shared.is_here(one):
                    self.shared.own(one)

    def distrust(self) -> None:
        """Treat every file as touched: something ran that was not seen."""
        self._laid.clear()

    def own(self) -> None:
        """Give the box its own copies of the files that it shares: what runs next may change them unseen."""
        for path in [one for one in self._laid if self.shared.is_here(one)]:
            del self._laid[path]
            self.shared.own(path)
            self.lay(path)

    def rebase(self, source: Path) -> None:
        """Note that the untouched files equal those of another directory, which was copied from the box."""
        self._source = source

    def links(self, place: Path) -> dict[str, str]:
        """Make links in *place* to the shared copies of the untouched files; return them by path."""
        return self.shared.links(self._source, filter(self._is_intact_here, self._laid), place)

    def _is_intact_here(self, path: str) -> bool:
        try:
            return self.is_intact(path, os.lstat(f"{self._box}/{path}"))
        except OSError:
            return False

    def is_intact(self, path: str, info: os.stat_result) -> bool:
        """Return whether a file of the box is untouched."""
        return self._laid.get(path) == self._as_laid(info)

    def digest(self, path: str, info: os.stat_result) -> str | None:
        """Return the digest of a file of the box, if it is untouched and was digested before."""
        if not self.is_intact(path, info):
            return None
        return self.shared.digests.get(info.st_ino) if self.shared.has(info) else self._digests.get(path)

    def digested(self, path: str, info: os.stat_result, digest: str) -> None:
        """Keep the digest of a file of the box."""
        if self.is_intact(path, info):
            if self.shared.has(info):  # whatever directory the next box is filled from
                self.shared.digests[info.st_ino] = digest
            else:
                self._digests[path] = digest

    def shelve(self, source: Path | None) -> dict[str, str]:
        """Move the untouched files of *source* to the shelf; return their paths there, by path."""
        found: dict[str, str] = {}
        is_same = bool(self._laid) and source == self._source
        if is_same or self.shared.paths:
            remove_tree(self._shelf)
            self._shelf.mkdir()
        if is_same:
            for path in filter(self._is_intact_here, list(self._laid)):
                shelved = f"{self._shelf}/{len(found)}"
                try:
                    os.rename(f"{self._box}/{path}", shelved)
                except OSError:
                    continue
                found[path] = shelved
        else:
            self._digests.clear()
        self._source = source
        self._laid.clear()
        return found | self.shared.links(source, self.shared.paths - found.keys(), self._shelf)

    def lay(self, path: str) -> None:
        """Note that a file of the box, if it is large, equals the source's, attributes included."""
        info = os.lstat(f"{self._box}/{path}")
        is_alone = info.st_nlink == 1 or self.shared.has(info)
        if stat.S_ISREG(info.st_mode) and info.st_size >= LARGE and is_alone:
            self._laid[path] = self._as_laid(info)

    def _as_laid(self, info: os.stat_result) -> _Laid:
        # Each new link of a shared file is a change of its status.
        changed = 0 if self.shared.has(info) else info.st_ctime_ns
        return _Laid(info.st_ino, info.st_size, info.st_mode, info.st_mtime_ns, changed)
