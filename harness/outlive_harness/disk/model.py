"""The model of the disk: ops replayed on inodes in memory, never on real files.

It says what the files should be after the first k ops of a trace, and so checks the interception
itself: what a real SIGKILL leaves must be what the ops before it predict. It also says what each op
changes, in the smallest steps that a disk may persist or lose, for the model of a power cut.

Each op has the outcome that the kernel gives it (open(2), rename(2), fallocate(2), ...), as far as
the files decide it. Rights, quotas and full disks are not modelled: where the recorder saw another
file than the ops before predict, the op is an UnmodelledError.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from outlive_harness.trace import NOW, OMIT, Content, Op, Seen

from . import content
from .content import BLOCK, ZEROS, Block
from .files import ATTRIBUTE, BLOCK_OF, ENTRY, ROOT, SIZE, XATTR, Change, Files, Node, Step, tree_of
from .tree import Tree

#: fallocate(2) modes
_KEEP_SIZE, _PUNCH_HOLE, _COLLAPSE, _ZERO, _INSERT, _UNSHARE = 1, 2, 8, 16, 32, 64
_FALLOCATE = frozenset(
    {
        0,
        _KEEP_SIZE,
        _PUNCH_HOLE | _KEEP_SIZE,
        _COLLAPSE,
        _ZERO,
        _ZERO | _KEEP_SIZE,
        _INSERT,
        _UNSHARE,
        _UNSHARE | _KEEP_SIZE,
    }
)
_NOREPLACE, _EXCHANGE, _WHITEOUT = 1, 2, 4
_O_TMPFILE_BIT = os.O_TMPFILE & ~os.O_DIRECTORY
_XATTR_CREATE, _XATTR_REPLACE = 1, 2
#: Bytes of an access control list without entries, which removes the one that is there.
_EMPTY_ACL = 4
_ALL_BITS, _BITS_OF_MKDIR = 0o7777, 0o1777
#: The kernel's loff_t is signed.
_MOST = (1 << 63) - 1

Steps = list[Step]


class UnmodelledError(RuntimeError):
    """An op whose effect cannot be told from the trace."""


class Disk:
    """Files, changed by ops.

    Args:
        umask: of the program that made the trace, where an op does not tell it.
        cut: gives the offsets at which a write from one offset to another is cut into steps; by
            default it is one step.
    """

    def __init__(self, *, umask: int = 0o022, cut: Callable[[int, int], Iterable[int]] | None = None) -> None:
        self.files = Files()
        self._umask = umask
        self.cut = cut
        self._numbers: dict[tuple[int, int], int] = {}
        #: made by O_TMPFILE and not yet seen again: (directory, number)
        self._unnamed: list[tuple[int, int]] = []
        self._steps: Steps = []
        self._next = ROOT

    @classmethod
    def load(
        cls, root: Path, *, umask: int = 0o022, cut: Callable[[int, int], Iterable[int]] | None = None
    ) -> Disk:
        """Start from the files below a directory, which must stay as they are.

        Raises:
            OSError: something cannot be read.
        """
        disk = cls(umask=umask, cut=cut)
        disk.files.load(root)
        disk._next = len(disk.files.nodes)
        return disk

    def apply(self, op: Op) -> Steps:
        """Do what the op did; return it in steps. One that must have failed does nothing.

        Raises:
            UnmodelledError: its effect is not known.
        """
        handler = getattr(self, "_" + op.kind, None)
        if handler is None or (op.detail is not None and op.detail.fails):
            return []
        self._steps = []
        handler(op)
        for step in self._steps:
            for change in step.changes:
                self._node(change.node).touched = op.tid
        return self._steps

    def tree(self, box: bytes = b"") -> Tree:
        """Return the files as tree.scan() would read them.

        Args:
            box: the path to replace in contents and link targets before they are digested.
        """
        return tree_of(self._node, box)

    def number_of(self, identity: tuple[int, int]) -> int | None:
        """Return the number of the file that has a number on a device, as far as ops were about it."""
        return self._numbers.get(identity)

    def find(self, op: Op) -> int | None:
        """Return the number of the file that an op acts on, through a descriptor or by its path."""
        return self._find(op)[0]

    # -- steps ---------------------------------------------------------------------------------------

    def _node(self, number: int) -> Node:
        return self.files.nodes[number]

    def _step(self, what: str, *changes: Change, start: int = 0, stop: int = 0) -> None:
        for change in changes:
            self.files.put(change, change.after)
        if changes:
            self._steps.append(Step(what, changes, start, stop))

    def _enter(self, directory: int, name: str, number: int | None) -> Change:
        """Prepare to give a name to a file, or to take it away."""
        before = self._node(directory).entries.get(name)
        if before is not None:
            self._node(before).links -= 1
        if number is not None:
            self._node(number).links += 1
        return Change(ENTRY, directory, name, before, number)

    def _make_node(self, op: Op, kind: str, mode: int, target: str = "") -> int:
        self._next += 1
        attributes: dict[str | int, object] = {} if kind == "link" else {"mode": mode}
        self.files.nodes[self._next] = Node(kind, target, attributes=attributes, touched=op.tid)
        return self._next

    def _masked(self, op: Op) -> int:
        known = op.detail is not None and op.detail.umask >= 0
        umask = op.detail.umask if known and op.detail is not None else self._umask
        return op.mode & _ALL_BITS & ~umask

    # -- which file ----------------------------------------------------------------------------------

    def _find(self, op: Op) -> tuple[int | None, Node | None]:
        number = self.files.walk(op.path)
        seen = op.detail.seen if op.detail is not None else None
        if seen is None:
            if op.detail is not None and number is not None and op.path:
                self._doubt(op, self._parent(op.path)[0], "there is no such file")
        else:
            number = self._identify(op, number, seen)
            if number is not None:
                node = self._node(number)
                if stat.S_ISREG(seen.mode) != (node.kind == "file"):
                    self._doubt(op, number, "it is another kind of file")
                elif node.kind == "file" and node.size != seen.size:
                    self._doubt(op, number, f"it has {seen.size} bytes and not {node.size}")
            elif op.path:
                self._doubt(op, self._parent(op.path)[0], "there is such a file")
        return number, None if number is None else self._node(number)

    def _doubt(self, op: Op, number: int | None, sentence: str) -> None:
        """Refuse to go on from what was not so; with threads, an op may stand before an earlier one ran."""
        if number is not None and self._node(number).touched == op.tid:
            raise UnmodelledError(
                f"{op.describe()}: {sentence}, as it should be after the ops before it; "
                "one of them failed or wrote less than it asked for"
            )

    def _identify(self, op: Op, at: int | None, seen: Seen) -> int | None:
        identity = seen.dev, seen.ino
        known = self._numbers.get(identity)
        if known is not None and seen.links and self._node(known).links:
            return known
        if seen.links:
            # A number that was given to another file before is free again: go by the path.
            if at is not None:
                self._numbers[identity] = at
            return at
        if known is not None and self._is_like(known, seen):
            return known
        parent = self._parent(op.path)[0]
        for one in self._unnamed:
            is_it = self._node(one[1]).mode == stat.S_IMODE(seen.mode)
            # One that is free again may be a new file's; that had nothing in it yet, at its first op.
            if one[0] == parent and is_it and (known is None or self._is_like(one[1], seen)):
                self._unnamed.remove(one)
                self._numbers[identity] = one[1]
                return one[1]
        if known is not None:
            return known
        raise UnmodelledError(f"{op.describe()}: a file without a name, and no op that made it")

    def _is_like(self, number: int, seen: Seen) -> bool:
        node = self._node(number)
        return stat.S_ISREG(seen.mode) == (node.kind == "file") and node.size == seen.size

    def _parent(self, path: str) -> tuple[int | None, str]:
        """Return the directory that a path's last name is in, and the name."""
        above, _, name = path.rpartition("/")
        number = self.files.walk(above)
        if number is None or self._node(number).kind != "dir" or not name:
            return None, name
        return number, name

    def _file(self, op: Op) -> tuple[int, Node] | None:
        number, node = self._find(op)
        return (number, node) if number is not None and node is not None and node.kind == "file" else None

    # -- making --------------------------------------------------------------------------------------

    def _open(self, op: Op) -> None:
        flags = op.flags
        if flags & os.O_PATH:
            return
        number, node = self._find(op)
        if flags & _O_TMPFILE_BIT:
            valid = flags & os.O_DIRECTORY and flags & os.O_ACCMODE and not flags & os.O_CREAT
            if valid and number is not None and node is not None and node.kind == "dir":
                made = self._make_node(op, "file", self._masked(op))
                self._node(made).linkable = not flags & os.O_EXCL
                self._unnamed.append((number, made))
        elif number is not None and node is not None:
            refused = flags & os.O_DIRECTORY or (flags & os.O_EXCL and flags & os.O_CREAT)
            if node.kind == "file" and flags & os.O_TRUNC and not refused:
                self._resize(number, 0)
        elif flags & os.O_CREAT and not flags & os.O_DIRECTORY:
            self._create(op, lambda: self._make_node(op, "file", self._masked(op)))

    def _create(self, op: Op, make: Callable[[], int]) -> None:
        """Make a file at the op's path, if nothing is there."""
        directory, name = self._parent(op.path)
        if self._find(op)[0] is None and directory is not None:
            self._step("name", self._enter(directory, name, make()))

    def _mkdir(self, op: Op) -> None:
        directory, _ = self._parent(op.path)
        if directory is None:
            return
        # A directory takes the set-group-id bit over from the one that it is in.
        mode = self._masked(op) & _BITS_OF_MKDIR | (self._node(directory).mode & stat.S_ISGID)
        self._create(op, lambda: self._make_node(op, "dir", mode))

    def _mknod(self, op: Op) -> None:
        # Only the type counts of a device; without type bits mknod(2) makes a file.
        kind = stat.S_IFMT(op.flags) or stat.S_IFREG
        if kind in (stat.S_IFDIR, stat.S_IFLNK):
            return
        mode, regular = self._masked(op), kind == stat.S_IFREG
        self._create(
            op,
            lambda: self._make_node(
                op, "file" if regular else "special", mode, "" if regular else f"{kind:o}"
            ),
        )

    def _symlink(self, op: Op) -> None:
        if op.target:
            self._create(op, lambda: self._make_node(op, "link", 0, op.target))

    # -- names ---------------------------------------------------------------------------------------

    def _unlink(self, op: Op) -> None:
        number, node = self._find(op)
        directory, name = self._parent(op.path)
        if number is not None and node is not None and node.kind != "dir" and directory is not None:
            self._step("name", self._enter(directory, name, None))

    def _rmdir(self, op: Op) -> None:
        number, node = self._find(op)
        if number is None or node is None or node.kind != "dir" or node.entries:
            return
        directory, name = self._parent(op.path)
        if directory is None:
            raise UnmodelledError("the box itself was removed")
        self._step("name", self._enter(directory, name, None))

    def _rename(self, op: Op) -> None:
        both = op.flags & _EXCHANGE and op.flags & (_NOREPLACE | _WHITEOUT)
        invalid = both or op.flags & ~(_EXCHANGE | _NOREPLACE | _WHITEOUT)
        if invalid or not op.path or not op.target:
            return
        source, moved = self._find(op)
        there, replaced = self._target(op)
        from_directory, from_name = self._parent(op.path)
        to_directory, to_name = self._parent(op.target)
        if source is None or moved is None or from_directory is None or to_directory is None:
            return
        if source == there or self._is_below(to_directory, source):
            return  # the same file: nothing to do; or a directory would come to lie in itself
        left = None
        if op.flags & _EXCHANGE:
            if there is None or self._is_below(from_directory, there):
                return
            left = there
        elif replaced is not None and (
            op.flags & _NOREPLACE or (replaced.kind == "dir") != (moved.kind == "dir") or replaced.entries
        ):
            return
        elif op.flags & _WHITEOUT:
            left = self._make_node(op, "special", 0, f"{stat.S_IFCHR:o}")
        first = self._enter(from_directory, from_name, left)
        second = self._enter(to_directory, to_name, source)
        self._step("move", first)
        self._step("move", second)

    def _target(self, op: Op) -> tuple[int | None, Node | None]:
        """Return the file at the op's second path."""
        number = self.files.walk(op.target)
        if op.detail is not None and op.detail.target is not None and number is not None:
            seen = op.detail.target
            number = self._identify(op, number, seen)
        return number, None if number is None else self._node(number)

    def _is_below(self, directory: int, top: int) -> bool:
        """Tell whether a directory is another one, or lies in it."""
        waiting = [top]
        while waiting:
            number = waiting.pop()
            if number == directory:
                return True
            waiting += self._node(number).entries.values()
        return False

    def _link(self, op: Op) -> None:
        source, node = self._find(op)
        directory, name = self._parent(op.target)
        if source is None or node is None or directory is None or node.kind == "dir":
            return
        if self._target(op)[0] is None and (node.links or node.linkable):
            self._step("name", self._enter(directory, name, source))

    # -- contents ------------------------------------------------------------------------------------

    def _write(self, op: Op) -> None:
        readonly = op.detail is not None and op.flags & os.O_ACCMODE == os.O_RDONLY
        if readonly or op.flags & os.O_PATH:
            return
        found = self._file(op)
        if found is None:
            return  # an unnamed file, of which nothing is known: nothing of the tree changes
        data = op.content
        if data is None:
            if op.kind == "write" and op.length == 0:
                return
            why = op.detail.unknown if op.detail is not None else ""
            raise UnmodelledError(f"the data of {op.describe()} is not known: {why or 'it was not recorded'}")
        number, node = found
        start = node.size if op.offset < 0 else op.offset
        if len(data) and start + len(data) <= _MOST:
            self._put(number, node, start, data)

    _copy = _write

    def _put(self, number: int, node: Node, start: int, data: Content | bytes) -> None:
        """Write bytes, a piece after the other: the file grows to hold a piece, then takes it in."""
        edge = -(-node.size // BLOCK) * BLOCK
        if self.cut and node.size < edge <= start:
            # Write-back of the last block takes the size to its end, once the file is longer than that.
            self._step("edge", Change(SIZE, number, 0, node.size, edge))
        if node.low < 0 and start > node.size:
            node.low = node.size
        stop = start + len(data)
        cuts = sorted(cut for cut in (self.cut(start, stop) if self.cut else ()) if start < cut < stop)
        for begin, end in zip([start, *cuts], [*cuts, stop], strict=True):
            if end > node.size:
                self._step("grow", Change(SIZE, number, 0, node.size, end))
            self._step("data", *self._patches(number, node, begin, end, data, start), start=begin, stop=end)
            if 0 <= node.low < end:
                self._edge_below(number, node, -(-end // BLOCK) * BLOCK)

    def _edge_below(self, number: int, node: Node, edge: int) -> None:
        """What is written in a gap makes its block's end the size, where that past the gap is lost."""
        if self.cut and edge < node.size and edge not in node.edges:
            node.edges.add(edge)
            self._step("edge", Change(SIZE, number, 0, node.size, node.size), stop=edge)

    def settle(self, number: int | None) -> None:
        """Note that a file's size is durable; all files' where it is None."""
        for node in self.files.nodes.values() if number is None else [self._node(number)]:
            node.low = -1
            node.edges.clear()

    def _patches(
        self, number: int, node: Node, begin: int, end: int, data: Content | bytes, start: int
    ) -> list[Change]:
        changes = []
        for index in range(begin // BLOCK, (end - 1) // BLOCK + 1):
            base = index * BLOCK
            first, last = max(begin, base), min(end, base + BLOCK)
            before = node.blocks.get(index)
            after = content.patch(before, data, first - start, last - start, first - base)
            changes.append(Change(BLOCK_OF, number, index, before, after))
        return changes

    def _truncate(self, op: Op) -> None:
        found = self._file(op)
        if found is not None and op.length <= _MOST:
            self._resize(found[0], op.length)

    def _resize(self, number: int, size: int) -> None:
        node = self._node(number)
        if not size and not node.size:
            return
        # One to the size that the file has is no void step: it makes durable what a write made of it.
        shorter = size < node.size
        self._step("size", Change(SIZE, number, 0, node.size, size))
        self.settle(number)  # a size that is set persists as it is
        if shorter:
            self._clear_past(number, node, size)

    def _clear_past(self, number: int, node: Node, size: int) -> None:
        """Clear the rest of the last block, and give back the blocks past it."""
        index, rest = divmod(size, BLOCK)
        if rest:
            self._clear(number, node, index, rest, BLOCK)
            index += 1
        gone = sorted(where for where in node.blocks if where >= index)
        self._step("free", *(Change(BLOCK_OF, number, where, node.blocks[where], None) for where in gone))

    def _clear(self, number: int, node: Node, index: int, at: int, stop: int) -> None:
        before = node.blocks.get(index)
        after = content.cleared(before, at, stop)
        if after is not before:
            self._step("zero", Change(BLOCK_OF, number, index, before, after))

    def _fallocate(self, op: Op) -> None:
        found = self._file(op)
        start, stop = op.offset, op.offset + op.length
        if found is None or op.flags not in _FALLOCATE or not op.length or stop > _MOST:
            return
        number, node = found
        if op.flags & (_COLLAPSE | _INSERT):
            aligned = start % BLOCK == 0 and op.length % BLOCK == 0
            if aligned and (start if op.flags & _INSERT else stop) < node.size:
                if self.cut:  # written back first, then moved: seen on ext4 with some of it where it was
                    raise UnmodelledError(f"{op.describe()}: what persists of moved blocks is not known")
                self._shift(number, node, start // BLOCK, op.length // BLOCK, insert=bool(op.flags & _INSERT))
            return
        if not op.flags & _KEEP_SIZE and stop > node.size:
            self._step("size", Change(SIZE, number, 0, node.size, stop))
            self.settle(number)
        if op.flags & (_PUNCH_HOLE | _ZERO):
            self._edge_below(number, node, stop)  # ext4 journals a size that takes in what it clears
            for index in sorted(node.blocks):
                base = index * BLOCK
                if base < stop and base + BLOCK > start:
                    self._clear(number, node, index, max(0, start - base), min(BLOCK, stop - base))

    def _shift(self, number: int, node: Node, first: int, count: int, *, insert: bool) -> None:
        """Take blocks out of a file, or put empty ones in."""
        moved: dict[int, Block] = {}
        for index, block in node.blocks.items():
            if index < first:
                moved[index] = block
            elif insert:
                moved[index + count] = block
            elif index >= first + count:
                moved[index - count] = block
        size = node.size + count * BLOCK * (1 if insert else -1)
        self._step("size", Change(SIZE, number, 0, node.size, size))
        for index in sorted(node.blocks.keys() | moved.keys()):
            before, after = node.blocks.get(index), moved.get(index)
            if before is not after:
                self._step(
                    "data",
                    Change(BLOCK_OF, number, index, before, after),
                    start=index * BLOCK,
                    stop=(index + 1) * BLOCK,
                )

    # -- attributes ----------------------------------------------------------------------------------

    def _set(self, number: int, name: str, value: object) -> None:
        before = self._node(number).attributes.get(name)
        if before != value:
            self._step("attribute", Change(ATTRIBUTE, number, name, before, value))

    def _chmod(self, op: Op) -> None:
        number, node = self._find(op)
        if number is not None and node is not None and node.kind != "link":
            self._set(number, "mode", op.mode)
            if op.detail is not None and op.detail.name:  # a list that is no more than a mode replaces one
                self._set(number, XATTR + op.detail.name, None)

    def _chown(self, op: Op) -> None:
        number, node = self._find(op)
        if number is None or node is None:
            return
        if op.detail is not None and op.detail.owner != (-1, -1):
            before = node.attributes.get("owner", (-1, -1))
            user, group = (
                new if new != -1 else old for new, old in zip(op.detail.owner, before, strict=True)
            )
            self._set(number, "owner", (user, group))
        if node.kind in ("file", "special"):
            # A file that changes hands loses what it may do in its owner's name (chown(2)).
            gone = stat.S_ISUID | (stat.S_ISGID if node.mode & stat.S_IXGRP else 0)
            self._set(number, "mode", node.mode & ~gone)

    def _utime(self, op: Op) -> None:
        number, node = self._find(op)
        if number is None or node is None or op.detail is None or op.detail.times is None:
            return
        before = node.attributes.get("times")
        if before is not None or not {NOW, OMIT} & set(op.detail.times):
            times = tuple(
                old if new == OMIT else new
                for new, old in zip(op.detail.times, before or (OMIT, OMIT), strict=True)
            )
            self._set(number, "times", None if NOW in times else times)

    def _setflags(self, op: Op) -> None:
        raise UnmodelledError(f"{op.describe()}: what persists of an inode's flags is not known")

    def _setxattr(self, op: Op) -> None:
        number, node = self._find(op)
        if number is None or node is None or op.detail is None:
            return
        name = XATTR + op.detail.name
        if op.detail.name.startswith("system.posix_acl"):
            if len(op.data or b"") <= _EMPTY_ACL:
                self._set(number, name, None)
                return
            raise UnmodelledError(f"{op.describe()}: access control lists change modes in ways not modelled")
        exists = name in node.attributes
        user = op.detail.name.startswith("user.")
        if (exists and op.flags & _XATTR_CREATE) or (not exists and op.flags & _XATTR_REPLACE):
            return
        if not user or node.kind in ("file", "dir"):
            self._set(number, name, op.data)

    def _removexattr(self, op: Op) -> None:
        number, _ = self._find(op)
        if number is not None and op.detail is not None:
            self._set(number, XATTR + op.detail.name, None)


__all__ = ["BLOCK", "ZEROS", "Disk", "Node", "UnmodelledError"]
