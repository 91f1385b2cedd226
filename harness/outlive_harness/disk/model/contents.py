"""Ops that change the content or size of a file: write(2), truncate(2), fallocate(2), and copies."""

from __future__ import annotations

import os
from collections.abc import Callable

from outlive_harness import abi
from outlive_harness.disk import content
from outlive_harness.disk.content import BLOCK, Block
from outlive_harness.results.ops import Content, Op

from .files import BLOCK_OF, SIZE, Change, Node
from .inodes import Inodes, UnmodelledError

#: The modes that fallocate(2) accepts.
_FALLOCATE = frozenset(
    {
        0,
        abi.FALLOC_KEEP_SIZE,
        abi.FALLOC_PUNCH_HOLE | abi.FALLOC_KEEP_SIZE,
        abi.FALLOC_COLLAPSE_RANGE,
        abi.FALLOC_ZERO_RANGE,
        abi.FALLOC_ZERO_RANGE | abi.FALLOC_KEEP_SIZE,
        abi.FALLOC_INSERT_RANGE,
        abi.FALLOC_UNSHARE_RANGE,
        abi.FALLOC_UNSHARE_RANGE | abi.FALLOC_KEEP_SIZE,
    }
)


def _write(disk: Inodes, op: Op) -> None:
    readonly = op.detail is not None and op.flags & os.O_ACCMODE == os.O_RDONLY
    if readonly or op.flags & os.O_PATH:
        return
    found = disk.look_up_file(op)
    if found is None:
        return  # a file without a name, unknown here: nothing in the tree changes
    data = op.content
    if data is None:
        if op.kind == "write" and op.length == 0:
            return
        why = op.detail.unknown if op.detail is not None else ""
        raise UnmodelledError(f"the data of {op.describe()} is not known: {why or 'it was not recorded'}")
    number, node = found
    start = node.size if op.offset < 0 else op.offset
    if len(data) and start + len(data) <= abi.MAX_LOFF:
        _put(disk, number, node, start, data)


def _put(disk: Inodes, number: int, node: Node, start: int, data: Content | bytes) -> None:
    """Write bytes, piece by piece: the file grows to hold a piece, then the piece is written."""
    edge = -(-node.size // BLOCK) * BLOCK
    if disk.cut and node.size < edge <= start:
        # Once the file is longer than its last block, write-back takes the size to that block's end.
        disk.step("edge", Change(SIZE, number, 0, node.size, edge))
    if node.low < 0 and start > node.size:
        node.low = node.size
    stop = start + len(data)
    cuts = sorted(cut for cut in (disk.cut(start, stop) if disk.cut else ()) if start < cut < stop)
    for begin, end in zip([start, *cuts], [*cuts, stop], strict=True):
        if end > node.size:
            disk.step("grow", Change(SIZE, number, 0, node.size, end))
        disk.step("data", *_patches(number, node, begin, end, data, start), start=begin, stop=end)
        if 0 <= node.low < end:
            _edge_below(disk, number, node, -(-end // BLOCK) * BLOCK)


def _edge_below(disk: Inodes, number: int, node: Node, edge: int) -> None:
    """Note that data in a gap makes its block's end the size, if the size past the gap is lost."""
    if disk.cut and edge < node.size and edge not in node.edges:
        node.edges.add(edge)
        disk.step("edge", Change(SIZE, number, 0, node.size, node.size), stop=edge)


def settle(node: Node) -> None:
    """Note that a file's size is durable."""
    node.low = -1
    node.edges.clear()


def _patches(
    number: int, node: Node, begin: int, end: int, data: Content | bytes, start: int
) -> list[Change]:
    changes = []
    for index in range(begin // BLOCK, (end - 1) // BLOCK + 1):
        base = index * BLOCK
        first, last = max(begin, base), min(end, base + BLOCK)
        before = node.blocks.get(index)
        after = Block(data, first - start, last - start, first - base, before)
        changes.append(Change(BLOCK_OF, number, index, before, after))
    return changes


def _truncate(disk: Inodes, op: Op) -> None:
    found = disk.look_up_file(op)
    if found is not None and op.length <= abi.MAX_LOFF:
        resize(disk, found[0], op.length)


def resize(disk: Inodes, number: int, size: int) -> None:
    """Set the size of a file."""
    node = disk.node(number)
    if not size and not node.size:
        return
    # Setting the size that a file has is a step too: it makes durable what a write grew it to.
    shorter = size < node.size
    disk.step("size", Change(SIZE, number, 0, node.size, size))
    settle(node)  # a size that is set persists as it is
    if shorter:
        _clear_past(disk, number, node, size)


def _clear_past(disk: Inodes, number: int, node: Node, size: int) -> None:
    """Clear the rest of the last block, and free the blocks past it."""
    index, rest = divmod(size, BLOCK)
    if rest:
        _clear(disk, number, node, index, rest, BLOCK)
        index += 1
    gone = sorted(where for where in node.blocks if where >= index)
    disk.step("free", *(Change(BLOCK_OF, number, where, node.blocks[where], None) for where in gone))


def _clear(disk: Inodes, number: int, node: Node, index: int, at: int, stop: int) -> None:
    before = node.blocks.get(index)
    after = content.cleared(before, at, stop)
    if after is not before:
        disk.step("zero", Change(BLOCK_OF, number, index, before, after))


def _fallocate(disk: Inodes, op: Op) -> None:
    found = disk.look_up_file(op)
    start, stop = op.offset, op.offset + op.length
    if found is None or op.flags not in _FALLOCATE or not op.length or stop > abi.MAX_LOFF:
        return
    number, node = found
    if op.flags & (abi.FALLOC_COLLAPSE_RANGE | abi.FALLOC_INSERT_RANGE):
        inserts = bool(op.flags & abi.FALLOC_INSERT_RANGE)
        aligned = start % BLOCK == 0 and op.length % BLOCK == 0
        if aligned and (start if inserts else stop) < node.size:
            if disk.cut:  # written back first, then moved: ext4 was seen to leave part of it unmoved
                raise UnmodelledError(f"{op.describe()}: what persists of moved blocks is not known")
            _shift(disk, number, node, start // BLOCK, op.length // BLOCK * (1 if inserts else -1))
        return
    if not op.flags & abi.FALLOC_KEEP_SIZE and stop > node.size:
        disk.step("size", Change(SIZE, number, 0, node.size, stop))
        settle(node)
    if op.flags & (abi.FALLOC_PUNCH_HOLE | abi.FALLOC_ZERO_RANGE):
        _edge_below(disk, number, node, stop)  # ext4 journals a size that includes what it clears
        for index in sorted(node.blocks):
            base = index * BLOCK
            if base < stop and base + BLOCK > start:
                _clear(disk, number, node, index, max(0, start - base), min(BLOCK, stop - base))


def _shift(disk: Inodes, number: int, node: Node, first: int, count: int) -> None:
    """Insert empty blocks at block *first*, or remove blocks from there on if *count* is negative."""
    moved: dict[int, Block] = {}
    for index, block in node.blocks.items():
        if index < first:
            moved[index] = block
        elif count > 0 or index >= first - count:
            moved[index + count] = block
    disk.step("size", Change(SIZE, number, 0, node.size, node.size + count * BLOCK))
    for index in sorted(node.blocks.keys() | moved.keys()):
        before, after = node.blocks.get(index), moved.get(index)
        if before is not after:
            change = Change(BLOCK_OF, number, index, before, after)
            disk.step("data", change, start=index * BLOCK, stop=(index + 1) * BLOCK)


EFFECTS: dict[str, Callable[[Inodes, Op], None]] = {
    "write": _write,
    "copy": _write,
    "truncate": _truncate,
    "fallocate": _fallocate,
}
