"""One worker's box: the directory that a pipeline works in, filled, read, kept and emptied."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from outlive_harness import abi
from outlive_harness.disk.content import part_of
from outlive_harness.disk.copying import copy_tree
from outlive_harness.disk.power import State
from outlive_harness.disk.removal import remove_tree
from outlive_harness.disk.tree import WHOLE, Tree, attributes, readable, scan
from outlive_harness.intercept.task import file_system
from outlive_harness.jobs.own_directory import BEGAN
from outlive_harness.results.ops import Op
from outlive_harness.results.run_spec import RunSpec

from .unchanged import LARGE, UnchangedFiles

#: The directory in which the command line keeps its results.
_OWN = ".outlive"
_NO_ROOM = os.strerror(errno.ENOSPC)
_IN_MEMORY = frozenset({abi.TMPFS_MAGIC, abi.RAMFS_MAGIC})
#: With fewer free bytes, a run may have failed because the disk of its box is full.
_LEAST_ROOM = 1 << 20


class BoxError(RuntimeError):
    """A box could not be made or read; the message says why."""


class BudgetEndedError(BoxError):
    """The budget ended while the pipeline ran."""


class Box:
    """A box, always at the same path.

    Args:
        place: the worker's private directory; the box is ``box`` in it.

    Attributes:
        place: that directory.
        path: the box.
        bytes: its real path.
        is_in_memory: whether an fsync costs nothing on its file system.
        boxes: a regular expression that matches the path of any worker's box of this session.
        unchanged: the large files in it that no run has touched.
    """

    def __init__(self, place: Path) -> None:
        self.place, self.path = place, place / "box"
        place.mkdir(parents=True, exist_ok=True)
        self.bytes = os.fsencode(os.path.realpath(place)) + b"/box"
        self.is_in_memory = file_system(os.fsencode(place)) in _IN_MEMORY
        self.unchanged = UnchangedFiles(self.path, place / "unchanged")
        #: the box of any worker of this session
        self._boxes = re.compile(re.sub(rb"w[0-9]{3}/box$", rb"w[0-9]{3}/box", re.escape(self.bytes)))
        self.boxes = os.fsdecode(self._boxes.pattern)

    # -- filling it ----------------------------------------------------------------------------------

    def fill(self, source: Path | None, *, is_users: bool = False) -> None:
        """Make the box anew: empty, or as a copy of *source*, which may be the user's own directory.

        Raises:
            BoxError: the disk is full, the source cannot be read, ...
        """
        copies = self._emptied(source)
        if source is not None:
            self.pour(source, copies, is_users=is_users)

    def _emptied(self, source: Path | None) -> dict[str, str]:
        """Make the box anew, and empty; return the unchanged copies of files of *source*, by path."""
        try:
            copies = self.unchanged.shelve(source)
            remove_tree(self.path)
            self.path.mkdir()
        except OSError as error:
            raise self._not_filled(error) from error
        return copies

    def pour(self, source: Path, copies: Mapping[str, str] | None = None, *, is_users: bool = False) -> None:
        """Copy *source* into the existing, empty box; *copies* are those of its files that are kept.

        Raises:
            BoxError: the disk is full, the source cannot be read, ...
        """
        try:
            skip = is_own if is_users else None
            copy_tree(source, self.path, copies=copies, skip=skip, opens=not is_users)
            self._rehome(lays=True)
        except OSError as error:
            raise self._not_filled(error) from error

    def lay_out(self, state: State, *, torn: tuple[Op, int] | None = None) -> bool:
        """Make the box anew, as a power cut leaves it; then add the first bytes of a write.

        Args:
            state: what the power cut leaves.
            torn: a write and the number of its bytes; None for none.

        Returns:
            Whether the data of that write is known.

        Raises:
            BoxError: the disk is full, recorded data cannot be read, ...
        """
        copies = self._emptied(state.initial)
        try:
            same = state.write_to(self.path, copies)
            if torn is not None and self.unchanged.shared.is_here(torn[0].path):
                self.unchanged.shared.own(torn[0].path)
            is_known = torn is None or _write_part(self.path, *torn)
            self._rehome()
            for path in same:
                if torn is None or path != torn[0].path:
                    self.unchanged.lay(path)
        except OSError as error:
            raise self._not_filled(error) from error
        return is_known

    def _not_filled(self, error: OSError) -> BoxError:
        return BoxError(f"the box at {self.path} could not be filled: {error}")

    def _rehome(self, *, lays: bool = False) -> None:
        """Replace other workers' boxes by this one in contents and link targets: the box must have one path.

        *lays* says that all files are as in the source that they come from.
        """
        for directory, _, names in os.walk(self.path):
            for name in names:
                path = os.path.join(directory, name)
                if os.path.islink(path):
                    self._relink(path)
                elif os.path.isfile(path):
                    size = os.stat(path).st_size
                    if size < WHOLE:
                        self._rewrite(path)
                    if lays and size >= LARGE:
                        self.unchanged.lay(os.path.relpath(path, self.path))

    def _relink(self, path: str) -> None:
        target = os.fsencode(os.readlink(path))
        own = self.own(target)
        if own != target:
            os.unlink(path)
            os.symlink(own, os.fsencode(path))

    def _rewrite(self, path: str) -> None:
        with readable(path):
            content = Path(path).read_bytes()
        own = self.own(content)
        if own == content:
            return
        info = os.stat(path)
        os.chmod(path, 0o600)
        with open(path, "r+b", buffering=0) as file:
            file.write(own)
        os.chmod(path, stat.S_IMODE(info.st_mode))
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))

    # -- reading it ----------------------------------------------------------------------------------

    def look(self, spec: RunSpec, *, whole: bool = False) -> Tree:
        """Read the files of the box, without the ignored ones unless *whole*.

        Raises:
            BoxError: a file in it cannot be read.
        """
        try:
            skip = spec.is_ignored if spec.ignore and not whole else None
            return scan(self.path, box=self.bytes, skip=skip, known=self.unchanged)
        except OSError as error:
            raise BoxError(f"the box could not be read: {error}") from error

    def attributes(self, tree: Tree) -> str:
        """Return the attributes and flags of a tree's files as a text; "" if there are none."""
        found = attributes(self.path, tree)
        return repr(sorted(found.items())) if found else ""

    def keep(self, where: Path) -> None:
        """Copy the box as it is now; a copy beside the boxes, which nothing changes, shares large files.

        Raises:
            BoxError: there is no room for the copy, ...
        """
        try:
            remove_tree(where)
            where.mkdir(parents=True)
            is_ours = where.is_relative_to(self.place.parent)
            with tempfile.TemporaryDirectory(dir=self.place, prefix="links-") as links:
                copies = self.unchanged.links(Path(links)) if is_ours else None
                copy_tree(self.path, where, copies=copies)
        except OSError as error:
            remove_tree(where)
            raise BoxError(f"the box could not be copied to {where}: {error}") from error

    @contextlib.contextmanager
    def copied(self) -> Iterator[None]:
        """Hold a copy of the files at the box's path for the body, then the files themselves again.

        What runs meanwhile may change the copy: a database that is opened to be read may be recovered.

        Raises:
            BoxError: there is no room for the copy, ...
        """
        original = self.place / "original"
        unchanged, self.unchanged = self.unchanged, UnchangedFiles(self.path, self.place / "unchanged")
        try:
            remove_tree(original)
            os.rename(self.path, original)
            try:
                self._copy_here(original)
                yield
            finally:
                remove_tree(self.path)
                os.rename(original, self.path)
        finally:
            self.unchanged = unchanged

    def _copy_here(self, original: Path) -> None:
        try:
            self.path.mkdir()
            copy_tree(original, self.path)
            shutil.copystat(original, self.path)
        except OSError as error:
            raise BoxError(f"the box could not be copied: {error}") from error

    # -- its path, and its room ----------------------------------------------------------------------

    def own(self, content: bytes) -> bytes:
        """Return a content in which any worker's box is this one."""
        return self._boxes.sub(lambda _: self.bytes, content)

    def without_path(self, value: bytes) -> bytes:
        """Return a value in which any worker's box is ``{box}``."""
        return self._boxes.sub(b"{box}", value)

    def as_told(self, text: str) -> str:
        """Return a text with the paths in the box made relative to it."""
        for box in {str(self.path), os.fsdecode(self.bytes)}:
            text = text.replace(box + os.sep, "").replace(box, "{box}")
        return text

    def expect_room(self, golden: Tree, *said: str) -> None:
        """Make sure that a run did not fail because the disk of the box is full.

        Args:
            golden: the files that a run leaves, which take less room than it needs.
            said: the program's account of its failure; another box may have taken the room, and freed it.

        Raises:
            BoxError: the disk may be full.
        """
        room = os.statvfs(self.place)
        free = room.f_bavail * room.f_frsize
        wanted = max(_LEAST_ROOM, sum(entry.size for entry in golden.values()))
        is_full = (room.f_blocks and free < wanted) or (room.f_files and not room.f_favail)
        if is_full or any(_NO_ROOM in one for one in said):
            raise BoxError(
                f"{_NO_ROOM}: the disk that boxes are on is full, with {free >> 20} MiB left at "
                f"{self.place}; choose a directory with more room by --box-dir"
            )

    def empty(self) -> None:
        """Free the room of the box after an error, as far as possible."""
        with contextlib.suppress(OSError):
            remove_tree(self.path)

    def clear(self) -> None:
        """Remove the worker's directory and all in it."""
        remove_tree(self.place)


def began(place: Path) -> int:
    """Return when the session of a worker's directory began, in nanoseconds since 1970."""
    try:
        return os.stat(place.parent / BEGAN).st_mtime_ns
    except FileNotFoundError:  # a box of its own
        return os.stat(place).st_mtime_ns


def is_own(path: str) -> bool:
    """Return whether a path of the user's input is outlive's own directory."""
    return path == _OWN


def _write_part(box: Path, op: Op, length: int) -> bool:
    """Write the first bytes of a write; return whether its data and its file are known."""
    content = op.content
    if content is None or not op.path:
        return False
    data = part_of(content, 0, length)
    try:
        fd = os.open(box / op.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # the file has no name any more, or is not writable
        return False
    try:
        at = op.offset if op.offset >= 0 else os.fstat(fd).st_size
        return os.pwrite(fd, data, at) == length
    finally:
        os.close(fd)
