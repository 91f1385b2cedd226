"""``timer``: SIGKILL at random moments of wall time: all that is left where calls cannot be intercepted.

It is never exhaustive, and a replay of it is as exact as the machine's clock and load allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

from outlive_harness.faults import Blames, Strike
from outlive_harness.plan import Point
from outlive_harness.trace import Op

#: Moments that are tried where none are asked for.
_MOMENTS = 20


class Timer:
    """Strikes at seeded moments between the start and the golden run's duration."""

    name = "timer"
    intercepts = False
    blames: Blames = "none"

    def points(self, ops: Sequence[Op], *, seconds: float, count: int | None, random: Random) -> list[Point]:  # noqa: ARG002
        """Return moments in microseconds after the start, in order."""
        last = max(2, int(seconds * 1e6))
        moments = {random.randint(1, last) for _ in range(count or _MOMENTS)}
        return [Point(self.name, moment) for moment in sorted(moments)]

    def strike(self, point: Point, box: Path) -> Strike:  # noqa: ARG002
        """Kill at the moment that the point names."""
        return Strike(None, after_seconds=point.at / 1e6)
