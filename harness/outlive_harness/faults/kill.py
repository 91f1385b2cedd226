"""``kill``: SIGKILL before each op: every state that files can be in when a process dies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

from outlive_harness.faults import Blames, Strike
from outlive_harness.intercept.supervisor import CRASH, GO
from outlive_harness.plan import Point
from outlive_harness.trace import Op


class Kill:
    """Strikes before op 1, 2, ... of the run."""

    name = "kill"
    intercepts = True
    blames: Blames = "before"

    def points(self, ops: Sequence[Op], *, seconds: float, count: int | None, random: Random) -> list[Point]:  # noqa: ARG002
        """Return a point for each op."""
        return [Point(self.name, number) for number in range(1, len(ops) + 1)]

    def strike(self, point: Point, box: Path) -> Strike:  # noqa: ARG002
        """Kill before the op that the point names."""
        return Strike(lambda _op, number: CRASH if number == point.at else GO)
