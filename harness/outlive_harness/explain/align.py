"""The ops of one run matched with those of another, whose order may differ."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher

from outlive_harness.golden.names import shape
from outlive_harness.golden.record import Record
from outlive_harness.results.ops import Op

#: The parts of names that differ from run to run: numbers of processes and threads, times, random parts.
_NUMBERS = re.compile(r"[0-9a-f]{8,}|[0-9]+")
#: Kind, path, target and length of an op; names that differ between golden runs are folded.
_Shape = tuple[str, str, str, int]


def aligned(record: Record, wanted: Sequence[Op], other: Sequence[Op]) -> list[int]:
    """Return the index in *other* of each op of *wanted*, both runs of one pipeline; -1 if there is none.

    The order of ops may depend on threads, and names may have random parts.
    """
    shapes, others = shape(record, wanted), shape(record, other)
    if shapes == others:
        return list(range(len(wanted)))
    indexes = [-1] * len(shapes)
    for block in SequenceMatcher(None, shapes, others, autojunk=False).get_matching_blocks():
        indexes[block.a : block.a + block.size] = range(block.b, block.b + block.size)
    left = set(range(len(others))) - set(indexes)
    for key in (_named, _loosened):
        _pair(indexes, left, list(map(key, shapes)), list(map(key, others)))
    for index, here in enumerate(indexes):  # an op of the same kind after the same op
        follows = indexes[index - 1] + 1 if index else 0
        is_known = not index or indexes[index - 1] >= 0
        if here < 0 and is_known and follows in left and shapes[index][0] == others[follows][0]:
            indexes[index] = follows
            left.remove(follows)
    return indexes


def _pair(indexes: list[int], left: set[int], keys: Sequence[Hashable], others: Sequence[Hashable]) -> None:
    """Pair the remaining ops that have equal keys, in order."""
    likes: dict[Hashable, deque[int]] = defaultdict(deque)
    for index in sorted(left):
        likes[others[index]].append(index)
    for index, here in enumerate(indexes):
        if here < 0 and likes[keys[index]]:
            indexes[index] = likes[keys[index]].popleft()
            left.remove(indexes[index])


def _named(one: _Shape) -> Hashable:
    return one[:3]


def _loosened(one: _Shape) -> Hashable:
    kind, path, target, _ = one
    return kind, _NUMBERS.sub("#", path), _NUMBERS.sub("#", target)
