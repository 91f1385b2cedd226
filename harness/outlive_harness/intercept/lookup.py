"""Where in the box a call's paths and descriptors lead, and what is to be known of the files there."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Collection, Iterable
from typing import NamedTuple, Protocol

from outlive_harness.trace import Content, Detail, Seen

from .made import Made
from .task import Place, behind, descriptor_path, file_system, locate, read_string, through_itself

#: Places that hold devices, and what the kernel makes up.
_NO_FILES = (b"/dev/", b"/proc/", b"/sys/")
#: Places in those that hold files all the same, which outlive a run.
_SHARED_MEMORY = (b"/dev/shm/", b"/dev/mqueue/")
_DELETED = b" (deleted)"
_ENCODING = sys.getfilesystemencoding()
#: Tasks whose descriptors are kept at hand.
_TASKS = 32


class Keeper(Protocol):
    """Where the bytes that ops write are kept, other than in the ops."""

    def add(self, content: Iterable[bytes]) -> Content:
        """Keep a content that comes in parts."""


class Found(NamedTuple):
    """A file that a call is about: where in the box it is (None: nowhere), and how to look at it."""

    inside: str | None
    place: Place


class Lookup:
    """Finds the files that the calls of one run are about, and keeps those that lie outside the box.

    Args:
        box: the real path of the box.
        data: whether ops carry the bytes that they write, and where these are kept: see Decoder.
        guarded: real paths outside the box that must not be changed.
        tmp: a directory of the box, relative to it, that is a file system of its own to the program; "" for
            none. Names outside the box are on another one in any case.
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
        self._inside = self.box + b"/"
        self._cut = len(self._inside)
        self._data = data is not False
        self._keeper = None if isinstance(data, bool) else data
        self._file_systems: dict[int, int] = {}
        #: directories of descriptors, by task
        self._tables: dict[int, int] = {}
        #: whether anything that is no file was opened for writing in the box: a named pipe, a device
        self._has_pipes = False
        #: paths outside the box that were to be changed; one that was only opened with what stat(2) said then
        self.outside: dict[str, tuple[int, ...] | None] = {}
        #: temporary files outside the box that the run makes
        self.made = Made()
        self._guarded = frozenset(guarded)
        #: what the call that was looked at last is to fail with, as an errno; whoever answers sets it back
        self.refusal = 0
        #: what was refused so, in words that go on from "it"
        self.refused: dict[str, None] = {}
        self._tmp = tmp
        #: calls that failed since their two names are on different file systems, in words
        self.crossings: dict[str, None] = {}

    def _relative(self, place: Place) -> str | None:
        path = place.path
        if path.startswith(self._inside):
            # The kernel adds to the name of an open file that it is gone; another may just be called so.
            if path.endswith(_DELETED) and place.where != path and not os.path.lexists(path):
                path = path.removesuffix(_DELETED)
            return path[self._cut :].decode(_ENCODING, "surrogateescape")
        return "" if path == self.box else None

    def _by_fd(self, tid: int, fd: int) -> Found:
        place = behind(tid, fd & 0xFFFFFFFF)
        return Found(self._relative(place), place)

    def _name_of(self, tid: int, fd: int) -> str | None:
        """Return where in the box a descriptor leads, as _by_fd() finds it; most ops are writes."""
        fd &= 0xFFFFFFFF
        try:
            path = os.readlink(b"%d" % fd, dir_fd=self._tables[tid])
        except (KeyError, OSError):
            path = self._looked_up(tid, fd)
        if path.startswith(self._inside) and not path.endswith(_DELETED):
            return path[self._cut :].decode(_ENCODING, "surrogateescape")
        return self._relative(Place(path, b"/proc/%d/fd/%d" % (tid, fd)))

    def _looked_up(self, tid: int, fd: int) -> bytes:
        """Return what a descriptor is open on, and keep the way to the others that this task has.

        What is kept belongs to the task and not to its number, so that nobody else's is ever read.
        """
        if len(self._tables) >= _TASKS or tid in self._tables:
            self.close()
        path = descriptor_path(tid, fd)
        with contextlib.suppress(OSError):
            self._tables[tid] = os.open(b"/proc/%d/fd" % tid, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return path

    def close(self) -> None:
        """Let go of the tasks."""
        while self._tables:
            os.close(self._tables.popitem()[1])

    def _by_name(
        self, tid: int, dirfd: int, address: int, *, follow: bool = False, empty: bool = False
    ) -> Found:
        return self._by_text(tid, dirfd, read_string(tid, address), follow=follow, empty=empty)

    def _by_text(
        self,
        tid: int,
        dirfd: int,
        raw: bytes,
        *,
        follow: bool = False,
        empty: bool = False,
        is_sure: bool = True,
    ) -> Found:
        return self._noted(tid, self._found(tid, dirfd, raw, follow=follow, empty=empty), is_sure=is_sure)

    def _found(self, tid: int, dirfd: int, raw: bytes, *, follow: bool = False, empty: bool = False) -> Found:
        """Find a file by its path; one that lies outside the box is not noted as changed."""
        place = locate(tid, dirfd, raw, follow=follow, empty=empty)
        inside = self._relative(place)
        if inside is None and raw and (other := through_itself(tid, dirfd, raw, follow=follow)):
            place, inside = other, self._relative(other)
        return Found(inside, place)

    def _noted(self, tid: int, found: Found, *, is_sure: bool = True) -> Found:
        """Note a file that is about to be changed, surely or perhaps, if it lies outside the box."""
        if found.inside is None and found.place.path and holds_files(found.place.path):
            self._note_outside(tid, found.place.path, is_sure=is_sure)
        return found

    def _file_system_of(self, found: Found) -> str:
        """Return which file system a file is on to the program: ``box``, ``tmp`` or ``outside``."""
        if found.inside is None:
            return "outside"
        return "tmp" if self._tmp and found.inside.startswith(self._tmp + "/") else "box"

    def _crosses(self, source: Found, target: Found) -> bool:
        """Tell whether two names are on different file systems, so that no call can move one to the other."""
        return self._file_system_of(source) != self._file_system_of(target)

    def _refuse_crossing(self, name: str, tid: int, source: Found, target: Found) -> None:
        """Let the call fail with EXDEV, as between any two file systems: rename(2), link(2)."""
        for one in (source, target):
            if one.place.path in self._guarded:  # a file of the user's is the graver matter
                self._note_outside(tid, one.place.path)
                return
        self.refusal = errno.EXDEV
        names = (
            os.fsdecode(one.place.path) if one.inside is None else one.inside for one in (source, target)
        )
        self.crossings[f"{name} {' -> '.join(names)}"] = None

    def _note_outside(self, tid: int, path: bytes, *, is_sure: bool = True) -> None:
        if path in self._guarded:
            what = f"was not let change {os.fsdecode(path)}, a file of yours that its command names"
            how = "copy it into each box by an input, or name a path in {box}"
            self.refuse(errno.EROFS, f"{what}; {how}")
            return
        # A call that cannot succeed writes nothing: no such file to change, no right to make one.
        is_there = os.path.lexists(path)
        if os.access(path if is_there else os.path.dirname(path), os.W_OK):
            text = os.fsdecode(path)
            before = None if is_sure else _status(text)
            self.outside[text] = before if text not in self.outside else self.outside[text] and before
            if not is_there:
                self.made.note(tid, path)

    def refuse(self, number: int, what: str) -> None:
        """Have the call that is looked at fail with an errno; *what* says what the run was not let do."""
        self.refusal = number
        self.refused[what] = None

    def left_outside(self) -> list[str]:
        """List the paths outside the box that were written.

        Left out are semaphores and the like that are gone, and files that were opened for writing as well as
        reading and are as they were: SQLite opens each database so.
        """
        shared = tuple(map(os.fsdecode, _SHARED_MEMORY))
        return [
            path
            for path, before in self.outside.items()
            if (before is None or _status(path) != before)
            and (not path.startswith(shared) or os.path.lexists(path))
        ]

    def _note_pipe(self, seen: Seen | None) -> None:
        """Keep in mind that something was opened for writing that is no file."""
        if seen is not None and stat.S_IFMT(seen.mode) in (stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK):
            self._has_pipes = True

    def _is_pipe(self, tid: int, fd: int) -> bool:
        """Tell whether a descriptor is open on what is no file; it is asked for only where any was opened."""
        seen = behind(tid, fd & 0xFFFFFFFF).look()
        return seen is not None and not stat.S_ISREG(seen.mode)

    # -- what the model of the disk needs besides ------------------------------------------------------

    def _seen(self, found: Found) -> Detail | None:
        """Look at the file, where details are asked for."""
        return Detail(found.place.look()) if self._data else None

    def _payload(self, parts: Iterable[bytes]) -> tuple[bytes | None, Content | None]:
        """Take in what an op writes: into the op itself, or apart from it."""
        if self._keeper is None:
            return b"".join(parts), None
        return None, self._keeper.add(parts)

    def _file_system(self, seen: Seen, where: bytes) -> int:
        if seen.dev not in self._file_systems:
            self._file_systems[seen.dev] = file_system(where)
        return self._file_systems[seen.dev]


def _status(path: str) -> tuple[int, ...] | None:
    """Return what changes when a file is written; None if there is none."""
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def holds_files(path: bytes) -> bool:
    """Tell whether what is at a path may outlive a run."""
    return not path.startswith(_NO_FILES) or path.startswith(_SHARED_MEMORY)
