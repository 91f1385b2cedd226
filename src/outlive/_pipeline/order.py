"""The order of steps: each comes after those whose outputs it reads, and after those that it names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from outlive._checkpoints.declaration import full_path
from outlive._system.arguments import checked_string, shown

from .step import identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .named import Named


def named_before(named: Mapping[str, Named]) -> dict[str, list[str]]:
    """Return, for each step, the steps that it names in `after`.

    Raises:
        ValueError: A named step is not in the pipeline.
    """
    of_function: dict[object, list[str]] = {}
    for name, one in named.items():
        of_function.setdefault(identity(one.function), []).append(name)
    found: dict[str, list[str]] = {}
    for name, one in named.items():
        found[name] = []
        for wanted in one.declared.after:
            same = of_function.get(identity(wanted), [])
            if not same and isinstance(wanted, str) and checked_string("after", wanted) in named:
                same = [checked_string("after", wanted)]
            if not same:
                raise ValueError(f"after={shown(wanted)} of step {name!r} is not one of the steps")
            found[name] += same
    return found


def makers(named: Mapping[str, Named]) -> dict[str, list[str]]:
    """Return, for each step, the steps whose outputs it reads.

    An output that is a link counts as the link: its target may be another step's output, or an input of the
    step itself.

    Raises:
        ValueError: A step reads what it makes; or two steps make one file, or one makes what is inside
            another's.
    """
    made, targets = _Places(), _Places()
    for name, one in named.items():
        for path in one.declared.outputs or ():
            directory, last = os.path.split(full_path(path))
            place = os.path.join(os.path.realpath(directory), last)
            for other, other_path in made.overlapping(place):
                raise ValueError(
                    f"outputs={path!r} of step {name!r} and outputs={other_path!r} of step {other!r} are "
                    "the same, or one is inside the other: each step would undo what the other made"
                )
            made.add(place, (name, path))
            if os.path.islink(place):
                targets.add(os.path.realpath(place), (name, path))
    found: dict[str, list[str]] = {}
    for name, one in named.items():
        found[name] = []
        for path in one.declared.inputs or ():
            found[name] += _read_from(path, made) or [
                other for other, _ in targets.overlapping(os.path.realpath(path)) if other != name
            ]
            if name in found[name]:
                message = f"inputs={path!r} of step {name!r} is one of its outputs: it would never be done"
                raise ValueError(message)
    return found


def _read_from(path: str, made: _Places) -> list[str]:
    """Return the steps that make an input, or a link on the way to it."""
    from outlive._checkpoints.file_facts import links  # noqa: PLC0415 - only for steps that declare files

    where = os.path.realpath(path)
    return [maker for place in (where, *links(path, where)) for maker, _ in made.overlapping(place)]


class _Places:
    """Real paths of outputs, each with its step and the path as the step declares it."""

    def __init__(self) -> None:
        self._at: dict[str, tuple[int, str, str]] = {}
        self._inside: dict[str, list[str]] = {}

    def add(self, place: str, made: tuple[str, str]) -> None:
        """Add a path that overlaps with no other."""
        self._at[place] = len(self._at), *made
        for above in _above(place):
            self._inside.setdefault(above, []).append(place)

    def overlapping(self, place: str) -> list[tuple[str, str]]:
        """Return what is at a path, above it or inside it, in the order in which it was added."""
        found = [one for one in (place, *_above(place), *self._inside.get(place, ())) if one in self._at]
        return [(name, path) for _, name, path in sorted(self._at[one] for one in found)]


def _above(place: str) -> Iterator[str]:
    """Yield the directories that contain a real path, from the lowest up."""
    while (above := os.path.dirname(place)) != place:
        yield above
        place = above


def ordered(before: Mapping[str, Iterable[str]]) -> list[str]:
    """Return names, each after those before it, and otherwise in the given order.

    Raises:
        ValueError: There is a circle.
    """
    from heapq import heappop, heappush  # noqa: PLC0415 - keeps `import outlive` light

    names = list(before)
    waits_for = [set(before[name]) for name in names]
    followers: dict[str, list[int]] = {}
    for number, others in enumerate(waits_for):
        for other in others:
            followers.setdefault(other, []).append(number)
    ready = [number for number, others in enumerate(waits_for) if not others]  # a heap, since it is sorted
    order: list[str] = []
    while ready:
        name = names[heappop(ready)]
        order.append(name)
        for number in followers.get(name, ()):
            waits_for[number].discard(name)
            if not waits_for[number]:
                heappush(ready, number)
    if len(order) < len(names):
        left = [name for name, others in zip(names, waits_for, strict=True) if others]
        raise ValueError(f"steps come after one another in a circle: {_circle(before, left)}")
    return order


def _circle(before: Mapping[str, Iterable[str]], left: list[str]) -> str:
    path = [left[0]]
    while path[-1] not in path[:-1]:
        path.append(next(other for other in before[path[-1]] if other in left))
    return " after ".join(path[path.index(path[-1]) :])
