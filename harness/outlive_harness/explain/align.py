"""Which op of one run is which op of another, where they are not the same one by one."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Hashable, Sequence
from difflib import SequenceMatcher

from outlive_harness.explore.golden import Record, shape
from outlive_harness.trace import Op

#: What differs from run to run in names: numbers of processes and threads, times, random parts.
_NUMBERS = re.compile(r"[0-9a-f]{8,}|[0-9]+")
#: Kind, path, target and length of an op; names that were seen to differ are folded.
_Shape = tuple[str, str, str, int]


def aligned(record: Record, wanted: Sequence[Op], other: Sequence[Op]) -> list[int]:
    """Return the place in *other* of each op of *wanted*, both runs of one subject; -1 where it has none.

    Threads take turns as they like, so an op may be elsewhere; and a name may have a random part.
    """
    shapes, others = shape(record, wanted), shape(record, other)
    if shapes == others:
        return list(range(len(wanted)))
    places = [-1] * len(shapes)
    for block in SequenceMatcher(None, shapes, others, autojunk=False).get_matching_blocks():
        places[block.a : block.a + block.size] = range(block.b, block.b + block.size)
    left = set(range(len(others))) - set(places)
    for key in (_named, _loosened):
        _pair(places, left, list(map(key, shapes)), list(map(key, others)))
    for place, here in enumerate(places):  # what follows the same op, and does the same
        follows = places[place - 1] + 1 if place else 0
        is_known = not place or places[place - 1] >= 0
        if here < 0 and is_known and follows in left and shapes[place][0] == others[follows][0]:
            places[place] = follows
            left.remove(follows)
    return places


def _pair(places: list[int], left: set[int], keys: Sequence[Hashable], others: Sequence[Hashable]) -> None:
    """Pair what has none with its like, in order."""
    likes: dict[Hashable, deque[int]] = defaultdict(deque)
    for place in sorted(left):
        likes[others[place]].append(place)
    for place, here in enumerate(places):
        if here < 0 and likes[keys[place]]:
            places[place] = likes[keys[place]].popleft()
            left.remove(places[place])


def _named(one: _Shape) -> Hashable:
    return one[:3]


def _loosened(one: _Shape) -> Hashable:
    kind, path, target, _ = one
    return kind, _NUMBERS.sub("#", path), _NUMBERS.sub("#", target)
