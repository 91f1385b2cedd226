"""Which file of the box a call is about, and what the run does to files outside it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Collection, Iterable
from typing import NamedTuple, Protocol

from outlive_harness.results.ops import Content, Detail, Seen

from .made import Made
from .memory import read_string
from .paths import locate, through_itself
from .task import Place, behind, descriptor_path, file_system

#: Directories of devices and of files that the kernel makes up.
_NO_FILES = (b"/dev/", b"/proc/", b"/sys/")
#: Directories in those whose files outlive a run all the same.
_SHARED_MEMORY = (b"/dev/shm/", b"/dev/mqueue/")
_DELETED = b" (deleted)"
_ENCODING = sys.getfilesystemencoding()
#: Tasks whose descriptor directories are kept open.
_TASKS = 32


class Keeper(Protocol):
    """Keeps the bytes that ops write outside the ops."""

    def add(self, content: Iterable[bytes]) -> Content:
        """Keep a content that comes in parts."""


class Found(NamedTuple):
    """A file that a call is about: its path in the box (None if it is outside), and how to look at it."""

    inside: str | None
    place: Place


class Lookup:
    """Finds the files that the calls of one run are about, and notes those outside the box.

    Args:
        box: the real path of the box.
        data: whether ops carry the bytes that they write; a Keeper keeps these outside the ops.
        guarded: real paths outside the box that must not be changed.
        tmp: a directory of the box, relative to it, that the program sees as another file system; "" for
            none. Names outside the box are always on another file system.

    Attributes:
        prefix: what the paths of files in the box begin with.
        wants_data: whether ops carry what the model of the disk needs.
        outside: paths outside the box that were to be changed, as an ordered set; a path that was only opened
            has its status from before.
        made: temporary files outside the box that the run makes.
        refusal: the errno with which the current call is to fail; whoever answers resets it to 0.
        refused: what was refused, in words that go on from "it", as an ordered set.
        crossings: calls that failed because their two names are on different file systems, in words.
    """

    def __init__(
        self,
        box: bytes,
        *,
        data: bool | Keeper = False,
        guarded: Collection[bytes] = (),
        tmp: str = "",
    ) -> None:
        self.box = box.rstrip(b"/")
        self.prefix = self.box + b"/"
        self._cut = len(self.prefix)
        self.wants_data = data is not False
        self._keeper = None if isinstance(data, bool) else data
        self._file_systems: dict[int, int] = {}
        #: descriptors of /proc/TID/fd, by task
        self._tables: dict[int, int] = {}
        #: whether a named pipe or a device was opened for writing in the box
        self._has_pipes = False
        self.outside: dict[str, tuple[int, ...] | None] = {}
        self.made = Made()
        self._guarded = frozenset(guarded)
        self.refusal = 0
        self.refused: dict[str, None] = {}
        self._tmp = tmp
        self.crossings: dict[str, None] = {}

    # -- finding files -------------------------------------------------------------------------------

    def relative(self, place: Place) -> str | None:
        """Return the path of a file in the box, relative to it; None for a file outside."""
        path = place.path
        if path.startswith(self.prefix):
            # The kernel marks an open file that has been deleted; another may really have such a name.
            if path.endswith(_DELETED) and place.where != path and not os.path.lexists(path):
                path = path.removesuffix(_DELETED)
            return path[self._cut :].decode(_ENCODING, "surrogateescape")
        return "" if path == self.box else None

    def by_fd(self, tid: int, fd: int) -> Found:
        """Find the file that a task's descriptor is open on."""
        place = behind(tid, fd & 0xFFFFFFFF)
        return Found(self.relative(place), place)

    def name_by_fd(self, tid: int, fd: int) -> str | None:
        """Return the same path as by_fd(), faster: most ops are writes."""
        fd &= 0xFFFFFFFF
        try:
            path = os.readlink(b"%d" % fd, dir_fd=self._tables[tid])
        except (KeyError, OSError):
            path = self._looked_up(tid, fd)
        if path.startswith(self.prefix) and not path.endswith(_DELETED):
            return path[self._cut :].decode(_ENCODING, "surrogateescape")
        return self.relative(Place(path, b"/proc/%d/fd/%d" % (tid, fd)))

    def _looked_up(self, tid: int, fd: int) -> bytes:
        """Return the path that a descriptor is open on, and keep the task's descriptor directory open.

        The directory belongs to the task and not to its number, so another task's is never read.
        """
        if len(self._tables) >= _TASKS or tid in self._tables:
            self.close()
        path = descriptor_path(tid, fd)
        with contextlib.suppress(OSError):
            self._tables[tid] = os.open(b"/proc/%d/fd" % tid, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return path

    def is_open(self, tid: int, fd: int) -> bool:
        """Return whether a descriptor can be read or written: see the mode of its link (proc_pid_fd(5))."""
        table = self._tables.get(tid)
        name = b"%d" % (fd & 0xFFFFFFFF)
        try:
            if table is None:
                return bool(os.lstat(b"/proc/%d/fd/%s" % (tid, name)).st_mode & 0o600)
            return bool(os.stat(name, dir_fd=table, follow_symlinks=False).st_mode & 0o600)
        except FileNotFoundError:
            return False  # closed meanwhile: the kernel fails the call

    def close(self) -> None:
        """Close the descriptor directories of the tasks."""
        while self._tables:
            os.close(self._tables.popitem()[1])

    def by_address(
        self, tid: int, dirfd: int, address: int, *, follow: bool = False, empty: bool = False
    ) -> Found:
        """Find a file that is about to be changed by the address of its path; see locate()."""
        return self.by_path(tid, dirfd, read_string(tid, address), follow=follow, empty=empty)

    def by_path(
        self,
        tid: int,
        dirfd: int,
        raw: bytes,
        *,
        follow: bool = False,
        empty: bool = False,
        is_sure: bool = True,
    ) -> Found:
        """Find a file that is about to be changed, surely or perhaps, by its path; see locate()."""
        found = self.find(tid, dirfd, raw, follow=follow, empty=empty)
        return self.note_change(tid, found, is_sure=is_sure)

    def find(self, tid: int, dirfd: int, raw: bytes, *, follow: bool = False, empty: bool = False) -> Found:
        """Find a file by its path; a file outside the box is not noted as changed."""
        place = locate(tid, dirfd, raw, follow=follow, empty=empty)
        inside = self.relative(place)
        if inside is None and raw and (other := through_itself(tid, dirfd, raw, follow=follow)):
            place, inside = other, self.relative(other)
        return Found(inside, place)

    # -- outside the box -----------------------------------------------------------------------------

    def note_change(self, tid: int, found: Found, *, is_sure: bool = True) -> Found:
        """Note a file that is about to be changed, surely or perhaps, if it is outside the box."""
        if found.inside is None and found.place.path and holds_files(found.place.path):
            self._note_outside(tid, found.place.path, is_sure=is_sure)
        return found

    def _file_system_seen(self, found: Found) -> str:
        """Return the file system that the program sees a file on: ``box``, ``tmp`` or ``outside``."""
        if found.inside is None:
            return "outside"
        return "tmp" if self._tmp and found.inside.startswith(self._tmp + "/") else "box"

    def crosses(self, source: Found, target: Found) -> bool:
        """Return whether the program sees two names on different file systems."""
        return self._file_system_seen(source) != self._file_system_seen(target)

    def refuse_crossing(self, name: str, tid: int, source: Found, target: Found) -> None:
        """Fail the call with EXDEV, as between any two file systems: rename(2), link(2)."""
        for one in (source, target):
            if one.place.path in self._guarded:  # a change of a user's file is graver
                self._note_outside(tid, one.place.path)
                return
        self.refusal = errno.EXDEV
        names = (
            os.fsdecode(one.place.path) if one.inside is None else one.inside for one in (source, target)
        )
        self.crossings[f"{name} {' -> '.join(names)}"] = None

    def _note_outside(self, tid: int, path: bytes, *, is_sure: bool = True) -> None:
        if path in self._guarded:
            what = f"was not allowed to change {os.fsdecode(path)}, a file of yours that its command names"
            how = "copy it into each box by an input, or name a path in {box}"
            self.refuse(errno.EROFS, f"{what}; {how}")
            return
        # A call without the right to change or make the file fails, and writes nothing.
        is_there = os.path.lexists(path)
        if os.access(path if is_there else os.path.dirname(path), os.W_OK):
            text = os.fsdecode(path)
            before = None if is_sure else _status(text)
            self.outside[text] = before if text not in self.outside else self.outside[text] and before
            if not is_there:
                self.made.note(tid, path)

    def refuse(self, number: int, what: str) -> None:
        """Fail the current call with an errno; *what* says what the run was not allowed to do."""
        self.refusal = number
        self.refused[what] = None

    def left_outside(self) -> list[str]:
        """List the paths outside the box that were written.

        Semaphores and shared memory that are gone are left out, and files that were opened for reading and
        writing but have not changed: SQLite opens each database that way.
        """
        shared = tuple(map(os.fsdecode, _SHARED_MEMORY))
        return [
            path
            for path, before in self.outside.items()
            if (before is None or _status(path) != before)
            and (not path.startswith(shared) or os.path.lexists(path))
        ]

    # -- pipes, and what the model of the disk needs -------------------------------------------------

    def note_pipe(self, seen: Seen | None) -> None:
        """Note a named pipe or device that was opened for writing."""
        if seen is not None and stat.S_IFMT(seen.mode) in (stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK):
            self._has_pipes = True

    def is_pipe(self, tid: int, fd: int) -> bool:
        """Return whether what is written to a descriptor goes to a pipe or device, and not to a file."""
        if not self._has_pipes:  # the usual case, and fast
            return False
        seen = behind(tid, fd & 0xFFFFFFFF).look()
        return seen is not None and not stat.S_ISREG(seen.mode)

    def detail(self, found: Found) -> Detail | None:
        """Return the file's status, if details are wanted."""
        return Detail(found.place.look()) if self.wants_data else None

    def payload(self, parts: Iterable[bytes]) -> tuple[bytes | None, Content | None]:
        """Return the bytes that an op writes: in the op itself, or from the keeper."""
        if self._keeper is None:
            return b"".join(parts), None
        return None, self._keeper.add(parts)

    def file_system_of(self, seen: Seen, where: bytes) -> int:
        """Return the magic number of the file system that a file is on."""
        if seen.dev not in self._file_systems:
            self._file_systems[seen.dev] = file_system(where)
        return self._file_systems[seen.dev]


def _status(path: str) -> tuple[int, ...] | None:
    """Return the fields of a file's status that a write changes; None if there is no file."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def holds_files(path: bytes) -> bool:
    """Return whether a file at this path may outlive a run."""
    return not path.startswith(_NO_FILES) or path.startswith(_SHARED_MEMORY)
