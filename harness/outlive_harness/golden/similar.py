"""Which crash points stand for the others, where a run does like things a thousand times.

Points are alike when the ops around them are: of the same kind, from the same line of the program and
the same callers where it is Python, on paths that differ in their numbers only. Of each group the first
is taken, the last, and a sample from the seed; so what is done differently once, in step 700 of 1,000,
is a group of its own and is struck.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from random import Random
from typing import TypeVar

from outlive_harness.results.ops import Op

#: Points of one fault and level past which not all are taken, unless all are asked for. Up to here
#: they take well under a minute a fault, on two cores.
MANY = 1000
#: Points of a group that are taken besides the first and the last.
_MORE = 2
#: Ops before and after one that tell its place in what is repeated.
_BEFORE, _AFTER = 3, 1

SELECTIONS = ("auto", "all", "distinct")

_NUMBERS = re.compile(r"[0-9a-f]{8,}|[0-9]+")
T = TypeVar("T")


def groups(ops: Sequence[Op], fold: Callable[[str], str], stacks: Sequence[str] = ()) -> list[int]:
    """Return a number for each op, equal for those that are alike.

    Args:
        ops: what a run does.
        fold: replaces what differs from run to run in a path.
        stacks: where in the program each op comes from; left out where they are not of these ops.
    """
    seen: dict[str, str] = {}

    def name(path: str) -> str:
        if path not in seen:
            seen[path] = _NUMBERS.sub("#", fold(path))
        return seen[path]

    places = stacks if len(stacks) == len(ops) else [""] * len(ops)
    shapes = [(op.kind, name(op.path), name(op.target), place) for op, place in zip(ops, places, strict=True)]
    known: dict[Hashable, int] = {}
    return [
        known.setdefault((at < _BEFORE, *shapes[max(0, at - _BEFORE) : at + _AFTER + 1]), len(known))
        for at in range(len(shapes))
    ]


def distinct(items: Sequence[T], group: Callable[[T], Hashable], random: Random) -> list[T]:
    """Return the first and the last item of each group and some between, in their order."""
    places: dict[Hashable, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        places[group(item)].append(place)
    taken: set[int] = set()
    for several in places.values():
        taken |= {several[0], several[-1]}
        between = several[1:-1]
        taken.update(random.sample(between, min(_MORE, len(between))))
    return [items[place] for place in sorted(taken)]
