"""``term``: SIGTERM at op k, a grace period, then SIGKILL: what a scheduler does when it preempts.

A point with a part, ``term@12.2``, sends the signal of that number instead.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from random import Random

from outlive_harness.faults import Blames, Strike
from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.plan import Point
from outlive_harness.trace import Op

#: Seconds between the signal and SIGKILL. Schedulers give 10 to 90; a pipeline under test is small.
GRACE = 3.0


class Term:
    """Strikes at each op with a signal to the first process; the op itself then runs.

    Args:
        number: of the signal.
    """

    name = "term"
    intercepts = True
    blames: Blames = "op"

    def __init__(self, number: int = signal.SIGTERM) -> None:
        self._part = 0 if number == signal.SIGTERM else int(number)

    def points(self, ops: Sequence[Op], *, seconds: float, count: int | None, random: Random) -> list[Point]:  # noqa: ARG002
        """Return a point for each op."""
        return [Point(self.name, number, self._part) for number in range(1, len(ops) + 1)]

    def strike(self, point: Point, box: Path) -> Strike:  # noqa: ARG002
        """Send the signal while the run stands before the op that the point names."""
        ask = Answer(signal=point.part or signal.SIGTERM)
        return Strike(lambda _op, n: ask if n == point.at else GO, grace=GRACE, goes_on=True)
