"""A trace taken apart into micro-ops: the smallest steps that a disk may persist or lose.

=============================  ==========================================================
op                             micro-ops, in order
=============================  ==========================================================
write that extends             for each piece: the size grows (zeros), then the data
overwrite                      data, a piece at a time
truncate                       size; the rest of the last block cleared; blocks freed
create, link, mkdir, symlink   directory entry
unlink, rmdir                  directory entry removed (what is freed then cannot be seen)
rename                         source entry, destination entry
chmod, chown, xattr, utime     attribute
=============================  ==========================================================

A piece is an aligned block of 4096 bytes (more for a write of very many); a write within one block is
two halves, so that it can be torn in the middle.

What holds whatever the disk is: the changes of one entry, of one block and of one attribute persist
in order. Sizes are set, not added: a later one stands for those before it; but the end of a block that is
written in the gap that a write past the end left (is_below()) counts only where the size itself is lost.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from outlive_harness.trace import SYNCS, Op

from .content import BLOCK
from .files import ATTRIBUTE, BLOCK_OF, ENTRY, SIZE, Change, Files
from .model import Disk

#: A write is cut into no more pieces than this.
_MOST_PIECES = 256

#: Of sync_file_range(2): write what is not under way, and wait for it.
_WRITE_AND_WAIT = 2 | 4
#: Modes of fallocate(2) that allocate nothing: a hole, blocks taken out or moved apart.
_GIVES_BACK = 2 | 8 | 32

Key = tuple[str, int, str | int]


class Micro(NamedTuple):
    """One micro-op.

    Attributes:
        number: its place among all, from 0.
        op: number of the op that it is a part of, from 1.
        part: which part, from 1.
        what: as Step.what.
        changes: what it changes.
        start: as Step.start.
        stop: as Step.stop.
        needs: micro-ops that must persist before it, on any disk.
    """

    number: int
    op: int
    part: int
    what: str
    changes: tuple[Change, ...]
    start: int
    stop: int
    needs: tuple[int, ...]


class Sync(NamedTuple):
    """An op that makes others durable.

    Attributes:
        op: its number.
        kind: the op's kind, or ``own`` for a write that persists itself.
        node: the file or directory that it is about; None for all of them.
        data_only: whether attributes are left out (``fdatasync``, ``O_DSYNC``).
    """

    op: int
    kind: str
    node: int | None
    data_only: bool


def cut(start: int, stop: int) -> Iterator[int]:
    """Yield where a write from one offset to another is cut into pieces."""
    first, last = start // BLOCK, (stop - 1) // BLOCK
    if first == last:
        yield (start + stop) // 2
        return
    size = BLOCK
    while (last - first + 1) * BLOCK > _MOST_PIECES * size:
        size *= 2
    if size > BLOCK and (first + 1) * BLOCK % size:
        yield (first + 1) * BLOCK  # what is left of a last block is often written back alone
    yield from range((start // size + 1) * size, stop, size)


class History:
    """The micro-ops of a trace, and the files at any moment of it.

    Args:
        initial: the files before the first op; all of them are durable. It is used up.
        ops: the trace, with data.

    Raises:
        UnmodelledError: what an op did is not known.
    """

    def __init__(self, initial: Disk, ops: Sequence[Op]) -> None:
        self.ops = list(ops)
        self.micros: list[Micro] = []
        #: number of micro-ops of ops 1 to k
        self.end = [0]
        self.syncs: dict[int, Sync] = {}
        #: micro-ops by what they change, in order
        self.chains: dict[Key, list[int]] = defaultdict(list)
        #: names that changed, by directory
        self.names: dict[int, dict[str, None]] = defaultdict(dict)
        #: indices of blocks that changed, by file
        self.blocks: dict[int, dict[int, None]] = defaultdict(dict)
        #: micro-ops that give a file a name or take one away, by file
        self.namings: dict[int, list[int]] = defaultdict(list)
        #: micro-ops by the file or directory whose own state they change
        self.own: dict[int, list[int]] = defaultdict(list)
        #: files of which parts were written back out of order (sync_file_range)
        self.scattered: set[int] = set()
        #: what sync_file_range waited for, by its op: the file, where it begins and ends
        self.waited: dict[int, tuple[int, int, int]] = {}
        #: files that were emptied, written anew and closed, by the op before which that was seen
        self.closed: dict[int, list[int]] = defaultdict(list)
        #: files of which blocks were allocated before they were written, with the first op that did so
        self.allocated: dict[int, int] = {}
        self.files: Files = initial.files
        #: files that were there before the first op
        self.given = frozenset(self.files.nodes)
        #: files that have several names at some time
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
            return  # an fsync that fails makes nothing durable either
        if op.kind in SYNCS:
            self._sync(disk, number, op)
            return
        written = disk.find(op) if op.persists else None
        sizes: int | None = None
        for part, step in enumerate(disk.apply(op), start=1):
            at = len(self.micros)
            needs = {self.chains[key][-1] for key in map(_key, step.changes) if self.chains[key]}
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
            self.syncs[number] = Sync(number, "own", written, op.persists == "data")

    def _sync(self, disk: Disk, number: int, op: Op) -> None:
        node = None if op.kind in ("sync", "syncfs") else disk.find(op)
        if op.kind == "sync_file_range":
            self._scatter(number, op, node)
        elif node is not None or op.kind in ("sync", "syncfs"):
            self.syncs[number] = Sync(number, op.kind, node, op.kind == "fdatasync")
            disk.settle(node)

    def _note(self, disk: Disk, number: int, op: Op) -> None:
        """Note what decides when files are written back."""
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
        self.chains[_key(change)].append(at)
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


def _key(change: Change) -> Key:
    return change.aspect, change.node, change.where


def size_of(micro: Micro, node: int) -> int:
    """Return the size that a micro-op makes a file; at least that, where it is_below()."""
    return micro.stop if is_below(micro) else next(c.after for c in micro.changes if c.key == (SIZE, node, 0))


def is_below(micro: Micro) -> bool:
    """Tell whether it leaves the size as it is where that persisted, and else makes it the end of a block."""
    return micro.what == "edge" and micro.stop > 0


def aspects(micro: Micro) -> set[str]:
    """Return which aspects of files a micro-op changes."""
    return {change.aspect for change in micro.changes}


__all__ = [
    "ATTRIBUTE",
    "BLOCK_OF",
    "ENTRY",
    "SIZE",
    "History",
    "Key",
    "Micro",
    "Sync",
    "aspects",
    "cut",
    "is_below",
    "size_of",
]
