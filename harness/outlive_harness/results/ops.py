"""Ops as data: what a run did to the files of its box."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from outlive_harness import abi

from .op_kinds import KINDS, OpKind

#: Special times of utimensat(2): the moment of the call (UTIME_NOW), and no change (UTIME_OMIT).
NOW, OMIT = -1, -2

_MAKES = os.O_CREAT | os.O_TRUNC | abi.O_TMPFILE_BIT
# O_SYNC holds the bit of O_DSYNC; RWF_* are arguments of pwritev2(2).
_SYNC_BIT = os.O_SYNC & ~os.O_DSYNC


class Content(Protocol):
    """Bytes in memory, or spilled to a file."""

    def __len__(self) -> int:
        """Return the number of bytes."""

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return a part of the bytes, or all."""


class Seen(NamedTuple):
    """A file as it was just before an op.

    Attributes:
        dev: its device.
        ino: its inode number, which may be reused once the file is gone.
        mode: its type and permission bits.
        links: how many names it has.
        size: its size in bytes.
    """

    dev: int
    ino: int
    mode: int
    links: int
    size: int


@dataclass(frozen=True, slots=True)
class Detail:
    """What the disk model needs to know about an op besides its fields.

    Attributes:
        seen: the file that the op acts on, at its descriptor or path; None if there was none.
        target: the file at the second path.
        opened: open flags of the descriptor that the op uses; -1 if none.
        how: flags of the call itself, if the op's are those of the descriptor (``RWF_*``,
            ``SYNC_FILE_RANGE_*``).
        umask: the task's umask, for what the op makes; -1 if it was not read.
        owner: the user and group that the op sets; -1 for no change.
        times: the times of access and change that the op sets, in ns; NOW and OMIT are special.
        name: the name of an extended attribute.
        blob: the bytes that the op writes, if the recorder keeps them apart from the op.
        closed: files (device, inode number) that were emptied and written anew, and whose last writer closed
            them since the op before.
        fails: the errno that the op is known to fail with; 0 if it can succeed.
        unknown: why the bytes that the op writes are not known; "" if they are.
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


@dataclass(slots=True)  # not frozen: creation would take three times as long
class Op:
    """One system call that can change the files of the box, as it was just before it ran.

    Attributes:
        kind: the kind of op, whatever the system call is named (``write`` for ``pwritev2`` too).
        syscall: the name of the system call.
        path: the path that it acts on, relative to the box; ``""`` is the box itself.
        target: the second path: the new name of a rename or link, relative to the box, or a symbolic link's
            text.
        tid: the thread that made the call.
        offset: where in the file it acts, in bytes; -1 for the end of the file (``O_APPEND``).
        length: how many bytes it writes or covers; for a copy at most the size of its source, and 0 if that
            is a pipe.
        flags: the flags of the call; for a write or copy those of its descriptor, for a sync O_PATH if the
            descriptor has it.
        mode: the permission bits that it asks for, before the umask.
        data: the bytes that it writes, if the recorder keeps them.
        begin: for a write at the end of its file, the position of that end; for a copy, the position in its
            source; -1 if not known.
        detail: more, if the recorder keeps it; None in ordinary trials.
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
    def traits(self) -> OpKind:
        """The traits of its kind."""
        return KINDS[self.kind]

    @property
    def creates(self) -> bool:
        """Whether it opens a file and creates it if there is none."""
        return self.kind == "open" and bool(self.flags & os.O_CREAT)

    @property
    def empties(self) -> bool:
        """Whether it opens a file and empties it."""
        return self.kind == "open" and bool(self.flags & os.O_TRUNC)

    @property
    def changes(self) -> bool:
        """Whether it can change what a reader finds; times and durability do not count."""
        if self.kind == "open":
            return self.creates or self.empties
        return not (self.traits.syncs or self.traits.times)

    @property
    def changes_files(self) -> bool:
        """Whether the files of the box, times included, can differ after it."""
        if self.kind == "open":
            return bool(self.flags & _MAKES)
        return not self.traits.syncs

    @property
    def changes_content(self) -> bool:
        """Whether it changes the bytes of a file in place."""
        return self.traits.writes or self.traits.resizes

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths in the box that it acts on."""
        return (self.path, self.target) if self.traits.installs else (self.path,)

    @property
    def content(self) -> Content | bytes | None:
        """The bytes that it writes, wherever the recorder keeps them; None if they are not known."""
        if self.data is not None or self.detail is None:
            return self.data
        return self.detail.blob

    @property
    def persists(self) -> str:
        """What it makes durable by itself: "" nothing, "data" as fdatasync(2), "all" as fsync(2)."""
        if not self.traits.writes or self.syscall in ("copy_file_range", "ioctl"):
            return ""
        how = self.detail.how if self.detail is not None else 0
        if self.flags & _SYNC_BIT or how & abi.RWF_SYNC:
            return "all"
        return "data" if self.flags & os.O_DSYNC or how & abi.RWF_DSYNC else ""

    def describe(self) -> str:
        """Return in a few words what the op does."""
        name = self.path or "."
        if self.kind == "copy":
            return f"copy into {name}"
        if self.traits.installs and self.target:
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
    """The ordered ops of one run, and what interception could not see.

    Attributes:
        ops: the ops on the box; op *k* is ``ops[k - 1]``.
        outside: files outside the box that the run wrote; no crash state includes them.
        blind: (path, reason) for each change that could not be seen: a store through shared memory, calls of
            a foreign architecture. The path is ``""`` if it can be any.
    """

    ops: list[Op] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    blind: list[tuple[str, str]] = field(default_factory=list)
