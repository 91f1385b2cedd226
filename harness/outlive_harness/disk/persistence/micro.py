"""A recording cut into micro-ops: the smallest steps that a disk may persist or lose.

=============================  ==========================================================
op                             micro-ops, in order
=============================  ==========================================================
write that extends             for each piece: the size grows (zeros), then the data
overwrite                      data, a piece at a time
truncate                       size; the rest of the last block cleared; blocks freed
create, link, mkdir, symlink   directory entry
unlink, rmdir                  directory entry removed (freed blocks are not visible)
rename                         source entry, destination entry
chmod, chown, xattr, utime     attribute
=============================  ==========================================================

A piece is an aligned block of 4096 bytes (larger for a very long write); a write within one block is two
halves, so that it can be torn in the middle.

On any disk the changes of one entry, of one block and of one attribute persist in order. Sizes are set, not
added: a later size replaces those before it; but if a write past the end leaves a gap, the end of a block
written in that gap (is_below()) counts only if the size itself is lost.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from outlive_harness import abi
from outlive_harness.disk.content import BLOCK
from outlive_harness.disk.model import Disk
from outlive_harness.disk.model.files import BLOCK_OF, ENTRY, SIZE, Change, Files
from outlive_harness.results.ops import Op

#: The most pieces of one write.
_MOST_PIECES = 256

_WRITE_AND_WAIT = abi.SYNC_FILE_RANGE_WRITE | abi.SYNC_FILE_RANGE_WAIT_AFTER
#: Modes of fallocate(2) that allocate no blocks for the range.
_GIVES_BACK = abi.FALLOC_PUNCH_HOLE | abi.FALLOC_COLLAPSE_RANGE | abi.FALLOC_INSERT_RANGE

Key = tuple[str, int, str | int]


class Micro(NamedTuple):
    """One micro-op.

    Attributes:
        number: its number among all, from 0.
        op: the number of its op, from 1.
        part: its number within the op, from 1.
        what: as Step.what.
        changes: its changes.
        start: as Step.start.
        stop: as Step.stop.
        needs: micro-ops that must persist before it on any disk.
    """

    number: int
    op: int
    part: int
    what: str
    changes: tuple[Change, ...]
    start: int
    stop: int
    needs: tuple[int, ...]

    def change_of(self, key: Key) -> Change:
        """Return its change of one thing."""
        return next(change for change in self.changes if change.key == key)


class Sync(NamedTuple):
    """An op that makes others durable.

    Attributes:
        op: its number.
        is_own: whether it is a write that makes only its own data durable (``O_SYNC``).
        node: the file or directory that it is about; None for all of them.
        data_only: whether attributes are left out (``fdatasync``, ``O_DSYNC``).
    """

    op: int
    is_own: bool
    node: int | None
    data_only: bool


def cut(start: int, stop: int) -> Iterator[int]:
    """Yield the offsets at which a write from one offset to another is cut into pieces."""
    first, last = start // BLOCK, (stop - 1) // BLOCK
    if first == last:
        yield (start + stop) // 2
        return
    size = BLOCK
    while (last - first + 1) * BLOCK > _MOST_PIECES * size:
        size *= 2
    if size > BLOCK and (first + 1) * BLOCK % size:
        yield (first + 1) * BLOCK  # the rest of a last block is often written back alone
    yield from range((start // size + 1) * size, stop, size)


class History:
    """The micro-ops of a recording, and the files after it.

    Args:
        initial: the files before the first op, all durable; it is used up.
        ops: the ops, recorded with data.

    Raises:
        UnmodelledError: the effect of an op is not known.
    """

    def __init__(self, initial: Disk, ops: Sequence[Op]) -> None:
        self.ops = list(ops)
        self.micros: list[Micro] = []
        #: the number of micro-ops of ops 1 to k, by k
        self.end = [0]
        self.syncs: dict[int, Sync] = {}
        #: micro-ops by the thing that they change, in order
        self.chains: dict[Key, list[int]] = defaultdict(list)
        #: names that changed, by directory
        self.names: dict[int, dict[str, None]] = defaultdict(dict)
        #: indices of blocks that changed, by file
        self.blocks: dict[int, dict[int, None]] = defaultdict(dict)
        #: micro-ops that give a file a name or remove one, by file
        self.namings: dict[int, list[int]] = defaultdict(list)
        #: micro-ops by the file or directory that they change
        self.own: dict[int, list[int]] = defaultdict(list)
        #: files with parts written back out of order (sync_file_range)
        self.scattered: set[int] = set()
        #: what sync_file_range waited for, by its op: (file, start, stop)
        self.waited: dict[int, tuple[int, int, int]] = {}
        #: files that were truncated, rewritten and closed, by the op before which that was seen
        self.closed: dict[int, list[int]] = defaultdict(list)
        #: files with blocks allocated before they were written, and the first op that did so
        self.allocated: dict[int, int] = {}
        self.files: Files = initial.files
        #: files from before the first op
        self.given = frozenset(self.files.nodes)
        #: files that have several names at any time
        self.linked = {
            number for number, node in self.files.nodes.items() if node.links > 1 and node.kind == "file"
        }
        initial.cut = cut
        for number, op in enumerate(self.ops, start=1):
            self._take(initial, number, op)
            self.end.append(len(self.micros))

    def _take(self, disk: Disk, number: int, op: Op) -> None:
        self._note(disk, number, op)
        if op.detail is not None and op.detail.fails:
            return  # a failed fsync makes nothing durable either
        if op.traits.syncs:
            self._sync(disk, number, op)
            return
        written = disk.find(op) if op.persists else None
        sizes: int | None = None
        for part, step in enumerate(disk.apply(op), start=1):
            at = len(self.micros)
            needs = {self.chains[one.key][-1] for one in step.changes if self.chains[one.key]}
            if step.what == "free" and sizes is not None:
                needs.add(sizes)
            elif step.what == "move" and part == 2:
                # The file must have had a name before it can get this one.
                needs |= set(self.micros[at - 1].needs)
            elif step.what == "size":
                sizes = at
            sized = step.what in ("size", "grow", "edge")
            before = () if sized else tuple(sorted(needs))
            micro = Micro(at, number, part, step.what, step.changes, step.start, step.stop, before)
            self.micros.append(micro)
            for change in step.changes:
                self._index(at, change)
                if op.kind == "link":
                    self.linked.add(change.after)
        if written is not None:
            self.syncs[number] = Sync(number, is_own=True, node=written, data_only=op.persists == "data")

    def _sync(self, disk: Disk, number: int, op: Op) -> None:
        node = None if op.traits.syncs_all else disk.find(op)
        if op.traits.syncs_range:
            self._scatter(number, op, node)
        elif node is not None or op.traits.syncs_all:
            self.syncs[number] = Sync(number, is_own=False, node=node, data_only=op.traits.syncs_data_only)
            disk.settle(node)

    def _note(self, disk: Disk, number: int, op: Op) -> None:
        """Note what decides when a file is written back."""
        for identity in op.detail.closed if op.detail is not None else ():
            node = disk.number_of(identity)
            if node is not None:
                self.closed[number].append(node)
        if op.kind == "fallocate" and not op.flags & _GIVES_BACK:
            self.allocated.setdefault(disk.find(op) or 0, number)

    def _scatter(self, number: int, op: Op, node: int | None) -> None:
        if node is None:
            return
        self.scattered.add(node)
        if op.detail is not None and op.detail.how & _WRITE_AND_WAIT == _WRITE_AND_WAIT:
            self.waited[number] = node, op.offset, op.offset + op.length if op.length else sys.maxsize

    def _index(self, at: int, change: Change) -> None:
        self.chains[change.key].append(at)
        if change.aspect == ENTRY:
            self.names[change.node][str(change.where)] = None
            for node in {change.before, change.after} - {None}:
                self.namings[node].append(at)
        elif change.aspect == BLOCK_OF:
            self.blocks[change.node][int(change.where)] = None
        if not self.own[change.node] or self.own[change.node][-1] != at:
            self.own[change.node].append(at)

    def parts(self, op: int) -> range:
        """Return the numbers of an op's micro-ops."""
        return range(self.end[op - 1], self.end[op])


def until(numbers: list[int], past: int) -> list[int]:
    """Return those of the micro-ops in order that come before one."""
    return numbers[: bisect_left(numbers, past)]


def size_of(micro: Micro, node: int) -> int:
    """Return the size that a micro-op gives a file; the least size, if it is_below()."""
    return micro.stop if is_below(micro) else int(micro.change_of((SIZE, node, 0)).after)


def is_below(micro: Micro) -> bool:
    """Return whether a micro-op sets the size to a block's end only if the size itself is lost."""
    return micro.what == "edge" and micro.stop > 0


def aspects(micro: Micro) -> set[str]:
    """Return the aspects of files that a micro-op changes."""
    return {change.aspect for change in micro.changes}
