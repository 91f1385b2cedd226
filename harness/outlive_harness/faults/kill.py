"""``kill``: SIGKILL before each op: every state that files can be in when a process dies."""

from __future__ import annotations

from random import Random

from outlive_harness.plan import Point

from . import Strike


class Kill:
    """Strikes before op 1, 2, ... of the run: all of them, or a seeded sample."""

    name = "kill"
    intercepts = True

    def points(self, *, ops: int, seconds: float, count: int | None, random: Random) -> list[Point]:  # noqa: ARG002
        """Return a point for each op."""
        numbers = range(1, ops + 1)
        if count is not None and count < ops:
            return [Point(self.name, number) for number in sorted(random.sample(numbers, count))]
        return [Point(self.name, number) for number in numbers]

    def strike(self, point: Point) -> Strike:
        """Kill before the op that the point names."""
        return Strike(before_op=point.at)
