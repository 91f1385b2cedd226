"""``power``: the machine loses power, and what was not synced may be lost, all or any part of it.

The run is recorded once with all that it wrote; its crash states come from the model of the disk
(see disk/power.py), and no process is struck.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from outlive_harness.disk.power import PowerModel, State
from outlive_harness.faults import Blames
from outlive_harness.plan import Point


class Power:
    """Cuts the power after each op, and within one that is its own sync: all that the profile admits."""

    name = "power"
    intercepts = True
    blames: Blames = "op"

    def points(
        self,
        model: PowerModel,
        first: int,
        said: Sequence[int],
        *,
        numbers: Sequence[int],
        seed: int,
        limit: int,
    ) -> tuple[list[Point], bool]:
        """Return the crash points of a recorded run, no two with equal files, and whether there may be more.

        Args:
            model: the model of all that was written since everything was durable.
            first: how many of its ops belong to earlier runs.
            said: what was acknowledged before each op of this run, and at its end: files that are a
                crash state already are another one where more was promised.
            numbers: of the ops after which the power is cut, in order.
            seed: decides what is tried after the states of a set kind.
            limit: points, at most: each op has a share of them, and what one leaves the later ones have.
        """
        points: list[Point] = []
        seen: dict[int, set[str]] = {}
        has_more = False
        moments = [
            (number, returned)
            for number in numbers
            for returned in ((False, True) if model.is_written_in_flight(first + number) else (True,))
        ]
        for left, (number, returned) in zip(range(len(moments), 0, -1), moments, strict=True):
            share = max(1, (limit - len(points)) // left)
            at, promised = first + number, said[number if returned else number - 1]
            known = seen.setdefault(promised, set())
            states = model.states(at, seed=seed, budget=share, seen=known, returned=returned)
            found, are_more = _all(states)
            if promised != said[number]:
                # An id that as well says that the op had returned asks for what was promised since.
                found = [state for state in found if not model.find(at, state.lost).returned]
            points += [Point(self.name, number, lost=state.lost) for state in found]
            has_more = has_more or are_more
        return points, has_more


def _all(states: Generator[State, None, bool]) -> tuple[list[State], bool]:
    """Return all states of an op, and whether there may be more."""
    found = []
    while True:
        try:
            found.append(next(states))
        except StopIteration as end:
            return found, end.value
