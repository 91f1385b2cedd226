"""Ops as data: what a pipeline did to the files of its box, in order."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Kinds whose op gives a path its whole content in one step.
INSTALLS = frozenset({"rename", "link"})
#: Kinds that change nothing a process can see: they only make earlier ops durable.
SYNCS = frozenset({"fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "msync"})


@dataclass(frozen=True, slots=True)
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
        length: how many bytes it is about.
        flags: the call's flags, as the kernel takes them.
        mode: permission bits that it asks for, before the umask.
        data: the bytes that it writes, where the recorder was asked for them.
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

    def describe(self) -> str:
        """Say in a few words what the op does."""
        name = self.path or "."
        if self.kind in ("rename", "link", "copy") and self.target:
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
