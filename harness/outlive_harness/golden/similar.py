"""Similar crash points, of which some stand for the others if a run does the same a thousand times.

Points are similar if the ops around them are: of the same kind, from the same line of the program and the
same callers (in Python), on paths that differ only in numbers. Of each group the first point is tried, the
last, and a sample from the seed. What is done differently once, in step 700 of 1,000, is a group of its own.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from random import Random
from typing import TypeVar

from outlive_harness.results.ops import Op

#: The number of points of one fault and level up to which all are tried by default. They take well under a
#: minute a fault, on two cores.
MANY = 1000
#: Points of a group that are tried besides the first and the last.
_MORE = 2
#: Ops before and after a point that must be similar too.
_BEFORE, _AFTER = 3, 1

SELECTIONS = ("auto", "all", "distinct")

_NUMBERS = re.compile(r"[0-9a-f]{8,}|[0-9]+")
T = TypeVar("T")


def groups(ops: Sequence[Op], fold: Callable[[str], str], stacks: Sequence[str] = ()) -> list[int]:
    """Return a number for each op, equal for similar ones.

    Args:
        ops: the ops of a run.
        fold: replaces the parts of a path that differ from run to run.
        stacks: the stack of each op in the program; none if they are unknown.
    """
    seen: dict[str, str] = {}

    def name(path: str) -> str:
        if path not in seen:
            seen[path] = _NUMBERS.sub("#", fold(path))
        return seen[path]

    lines = stacks if len(stacks) == len(ops) else [""] * len(ops)
    shapes = [(op.kind, name(op.path), name(op.target), line) for op, line in zip(ops, lines, strict=True)]
    known: dict[Hashable, int] = {}
    return [
        known.setdefault((at < _BEFORE, *shapes[max(0, at - _BEFORE) : at + _AFTER + 1]), len(known))
        for at in range(len(shapes))
    ]


def distinct(items: Sequence[T], group: Callable[[T], Hashable], random: Random) -> list[T]:
    """Return the first and the last item of each group, and some in between, in their order."""
    indexes: dict[Hashable, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        indexes[group(item)].append(index)
    taken: set[int] = set()
    for several in indexes.values():
        taken |= {several[0], several[-1]}
        between = several[1:-1]
        taken.update(random.sample(between, min(_MORE, len(between))))
    return [items[index] for index in sorted(taken)]
