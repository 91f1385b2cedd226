"""The inodes that ops act on: which file each op means, and how a change becomes a step."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable

from outlive_harness.results.ops import Op, Seen

from .files import ENTRY, Change, Files, Node, Step, put

Cut = Callable[[int, int], Iterable[int]]
#: Permission bits with set-user-id, set-group-id and sticky.
_ALL_BITS = 0o7777


class UnmodelledError(RuntimeError):
    """The effect of an op cannot be derived from the recording."""


class Inodes:
    """Files by number, and the steps of the current op.

    Args:
        umask: of the recorded program, for ops that do not record it.
        cut: returns the offsets at which a write from one offset to another is cut into steps; by default it
            is one step.
    """

    def __init__(self, *, umask: int = 0o022, cut: Cut | None = None) -> None:
        self.files = Files()
        self.cut = cut
        self._umask = umask
        #: numbers of files by device and inode number
        self._numbers: dict[tuple[int, int], int] = {}
        #: files made by O_TMPFILE that no later op was about: (directory, number)
        self._unnamed: list[tuple[int, int]] = []
        self._steps: list[Step] = []

    def number_of(self, identity: tuple[int, int]) -> int | None:
        """Return the number of a file by its device and inode number, if an op was about it."""
        return self._numbers.get(identity)

    def node(self, number: int) -> Node:
        """Return a file by its number."""
        return self.files.nodes[number]

    # -- steps ---------------------------------------------------------------------------------------

    def step(self, what: str, *changes: Change, start: int = 0, stop: int = 0) -> None:
        """Carry out changes as one step of the current op."""
        for change in changes:
            put(self.node(change.node), change.aspect, change.where, change.after)
        if changes:
            self._steps.append(Step(what, changes, start, stop))

    def enter(self, directory: int, name: str, number: int | None) -> Change:
        """Return the change that gives a name to a file, or removes it (None)."""
        before = self.node(directory).entries.get(name)
        if before is not None:
            self.node(before).links -= 1
        if number is not None:
            self.node(number).links += 1
        return Change(ENTRY, directory, name, before, number)

    def make_node(self, op: Op, kind: str, mode: int, target: str = "") -> int:
        """Make a file without a name; return its number."""
        number = len(self.files.nodes) + 1
        attributes: dict[str | int, object] = {} if kind == "link" else {"mode": mode}
        self.files.nodes[number] = Node(kind, target, attributes=attributes, touched=op.tid)
        return number

    def make_unnamed(self, op: Op, directory: int, *, linkable: bool) -> None:
        """Make a file that stays without a name (``O_TMPFILE``)."""
        made = self.make_node(op, "file", self.masked(op))
        self.node(made).linkable = linkable
        self._unnamed.append((directory, made))

    def masked(self, op: Op) -> int:
        """Return the mode that an op asks for, less the umask."""
        umask = op.detail.umask if op.detail is not None and op.detail.umask >= 0 else self._umask
        return op.mode & _ALL_BITS & ~umask

    # -- which file ----------------------------------------------------------------------------------

    def look_up(self, op: Op) -> tuple[int | None, Node | None]:
        """Return the file that an op acts on, by its descriptor or its path.

        Raises:
            UnmodelledError: it is not as the ops before this one left it.
        """
        number = self.files.walk(op.path)
        seen = op.detail.seen if op.detail is not None else None
        if seen is None:
            if op.detail is not None and number is not None and op.path:
                self._doubt(op, self.parent(op.path)[0], "there is no such file")
        else:
            number = self._identify(op, number, seen)
            if number is not None:
                node = self.node(number)
                if stat.S_ISREG(seen.mode) != (node.kind == "file"):
                    self._doubt(op, number, "it is another kind of file")
                elif node.kind == "file" and node.size != seen.size:
                    self._doubt(op, number, f"it has {seen.size} bytes and not {node.size}")
            elif op.path:
                self._doubt(op, self.parent(op.path)[0], "there is such a file")
        return number, None if number is None else self.node(number)

    def look_up_file(self, op: Op) -> tuple[int, Node] | None:
        """Return the regular file that an op acts on; None if it acts on none."""
        number, node = self.look_up(op)
        return (number, node) if number is not None and node is not None and node.kind == "file" else None

    def look_up_target(self, op: Op) -> tuple[int | None, Node | None]:
        """Return the file at an op's second path."""
        number = self.files.walk(op.target)
        if op.detail is not None and op.detail.target is not None and number is not None:
            number = self._identify(op, number, op.detail.target)
        return number, None if number is None else self.node(number)

    def parent(self, path: str) -> tuple[int | None, str]:
        """Return the directory of a path's last name (None if there is none), and that name."""
        above, _, name = path.rpartition("/")
        number = self.files.walk(above)
        if number is None or self.node(number).kind != "dir" or not name:
            return None, name
        return number, name

    def _doubt(self, op: Op, number: int | None, sentence: str) -> None:
        """Raise an error if the last op on a file, by the same thread, did not do what was recorded.

        With several threads, an op can be recorded before an earlier one ran.
        """
        if number is not None and self.node(number).touched == op.tid:
            raise UnmodelledError(
                f"{op.describe()}: {sentence}, as it should be after the ops before it; "
                "one of them failed or wrote less than it asked for"
            )

    def _identify(self, op: Op, at: int | None, seen: Seen) -> int | None:
        """Return the number of a file that an op saw; *at* is the number of the file at its path."""
        identity = seen.dev, seen.ino
        known = self._numbers.get(identity)
        if known is not None and seen.links and self.node(known).links:
            return known
        if seen.links:
            # The inode number may have been another file's before: go by the path.
            if at is not None:
                self._numbers[identity] = at
            return at
        if known is not None and self._is_like(known, seen):
            return known
        parent = self.parent(op.path)[0]
        for one in self._unnamed:
            is_it = self.node(one[1]).mode == stat.S_IMODE(seen.mode)
            # A reused inode number may be a new file's, which is empty at its first op.
            if one[0] == parent and is_it and (known is None or self._is_like(one[1], seen)):
                self._unnamed.remove(one)
                self._numbers[identity] = one[1]
                return one[1]
        if known is not None:
            return known
        raise UnmodelledError(f"{op.describe()}: a file without a name, and no op that made it")

    def _is_like(self, number: int, seen: Seen) -> bool:
        node = self.node(number)
        return stat.S_ISREG(seen.mode) == (node.kind == "file") and node.size == seen.size
