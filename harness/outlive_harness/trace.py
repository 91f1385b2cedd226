"""Ops as data: what a pipeline did to the files of its box, in order."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

#: Kinds whose op gives a path its whole content in one step.
INSTALLS = frozenset({"rename", "link"})
#: Kinds that change nothing a process can see: they only make earlier ops durable.
SYNCS = frozenset({"fsync", "fdatasync", "sync", "syncfs", "sync_file_range"})
#: Kinds that put bytes into a file.
WRITES = frozenset({"write", "copy"})

#: Times of utimensat(2) that are no times: the moment of the call; left as it is.
NOW, OMIT = -1, -2

# O_SYNC holds the bit of O_DSYNC; RWF_* are arguments of pwritev2(2).
_SYNC_BIT = os.O_SYNC & ~os.O_DSYNC
_RWF_DSYNC, _RWF_SYNC = 2, 4


class Content(Protocol):
    """Bytes that may lie anywhere: in memory, or spilled to a file."""

    def __len__(self) -> int:
        """Return how many bytes they are."""

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return a part of them, or all."""


class Seen(NamedTuple):
    """A file as it stood just before an op.

    Attributes:
        dev: its device.
        ino: its number on that device; given to another file once it is gone for good.
        mode: type and permission bits.
        links: how many names it has.
        size: its bytes.
    """

    dev: int
    ino: int
    mode: int
    links: int
    size: int


@dataclass(frozen=True, slots=True)
class Detail:
    """What the model of the disk needs to know of an op, beyond what it is.

    Attributes:
        seen: the file that it acts on: behind the descriptor, or at the path; None if none was there.
        target: what stands at the second path.
        opened: open flags of the descriptor that it goes through; -1 if none.
        how: flags of the call itself where the op's are the descriptor's (``RWF_*``, ``SYNC_FILE_RANGE_*``).
        umask: of the task, for what it makes; -1 where it was not asked.
        owner: user and group that it sets; -1 leaves one as it is.
        times: of access and change that it sets, in ns; NOW and OMIT are special.
        name: of an extended attribute.
        blob: the bytes that it writes, where the recorder keeps them apart from the op.
        closed: files, by device and number, that were emptied and written anew, and that nobody has open for
            writing any more since the op before.
        fails: the errno that it is known to end with; 0 where it can succeed.
        unknown: why the bytes that it writes are not known; "" if they are.
    """

    seen: Seen | None = None
    target: Seen | None = None
    opened: int = -1
    how: int = 0
    umask: int = -1
    owner: tuple[int, int] = (-1, -1)
    times: tuple[int, int] | None = None
    name: str = ""
    blob: Content | None = None
    closed: tuple[tuple[int, int], ...] = ()
    fails: int = 0
    unknown: str = ""


@dataclass(slots=True)  # not frozen: that makes each one three times as dear
class Op:
    """One system call that can change the files of the box, as it was just before it ran.

    Attributes:
        kind: what it does, whatever the system call is named (``write`` for ``pwritev2`` too).
        syscall: the system call's own name.
        path: what it acts on, relative to the box; ``""`` is the box itself.
        target: the second path: where a rename or link goes to, relative to the box, or a
            symbolic link's text.
        tid: the thread that made the call.
        offset: where in the file it acts, in bytes; -1 is the end of the file (``O_APPEND``).
        length: how many bytes it is about; of a copy no more than its source has, and 0 where that is a pipe.
        flags: the call's flags, as the kernel takes them; of a write or copy its descriptor's, of a sync
            O_PATH where its descriptor is one.
        mode: permission bits that it asks for, before the umask.
        data: the bytes that it writes, where the recorder was asked for them.
        begin: of a write at the end of its file, where that is; of a copy, where in its source it begins; -1
            where that is not known.
        detail: what else the recorder was asked for; None in ordinary trials.
    """

    kind: str
    syscall: str
    path: str
    target: str = ""
    tid: int = 0
    offset: int = 0
    length: int = 0
    flags: int = 0
    mode: int = 0
    data: bytes | None = field(default=None, repr=False)
    detail: Detail | None = field(default=None, repr=False)
    begin: int = -1

    @property
    def changes(self) -> bool:
        """Whether it can change what a reader finds: it is no mere open, sync or change of times."""
        if self.kind == "open":
            return bool(self.flags & (os.O_CREAT | os.O_TRUNC))
        return self.kind not in SYNCS and self.kind != "utime"

    @property
    def content(self) -> Content | bytes | None:
        """The bytes that it writes, wherever the recorder put them; None where they are not known."""
        if self.data is not None or self.detail is None:
            return self.data
        return self.detail.blob

    @property
    def persists(self) -> str:
        """What it makes durable by itself: "" nothing, "data" as fdatasync does, "all" as fsync does."""
        if self.kind not in WRITES or self.syscall in ("copy_file_range", "ioctl"):
            return ""
        how = self.detail.how if self.detail is not None else 0
        if self.flags & _SYNC_BIT or how & _RWF_SYNC:
            return "all"
        return "data" if self.flags & os.O_DSYNC or how & _RWF_DSYNC else ""

    def describe(self) -> str:
        """Say in a few words what the op does."""
        name = self.path or "."
        if self.kind == "copy":
            return f"copy into {name}"
        if self.kind in ("rename", "link") and self.target:
            return f"{self.kind} {name} -> {self.target}"
        if self.kind == "symlink":
            return f"symlink {name} -> {self.target}"
        if self.kind == "write":
            return f"write {name} ({self.length} bytes)"
        if self.kind == "truncate":
            return f"truncate {name} to {self.length} bytes"
        return f"{self.kind} {name}"


@dataclass(slots=True)
class Trace:
    """The ordered ops of one run, and what the interception could not see of it.

    Attributes:
        ops: the ops on the box; op *k* of the prose is ``ops[k - 1]``.
        outside: files outside the box that the run wrote: state that no crash state can hold.
        blind: (path, reason) for what was out of sight: a store through shared memory, calls of a
            foreign architecture. The path is ``""`` where it can be any. Empty when all was seen.
    """

    ops: list[Op] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    blind: list[tuple[str, str]] = field(default_factory=list)
