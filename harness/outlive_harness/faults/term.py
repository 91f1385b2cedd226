"""``term``: SIGTERM at op k, a grace period, then SIGKILL, as a scheduler preempts a job.

A point with a part, ``term@12.2``, sends the signal of that number instead.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Self

from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import Point

from .fault import Injection, KnownRun, RunFault, Settings
from .kill import Kill

#: Seconds between the signal and SIGKILL. Schedulers give 10 to 90; a pipeline under test is small.
_GRACE = 3.0


class Term(RunFault):
    """Sends a signal to the first process at each op; the op itself then runs.

    Args:
        number: the signal's number.
    """

    name = "term"
    part = "signal"
    stops_run = True
    ends_as = Kill.name

    def __init__(self, number: int = signal.SIGTERM) -> None:
        self._part = 0 if number == signal.SIGTERM else int(number)

    def configured(self, settings: Settings) -> Self:
        """Return the fault with the signal that a user has chosen."""
        return type(self)(settings.signal)

    def points(self, run: KnownRun) -> list[Point]:
        """Return a point for each op."""
        return [Point(self.name, number, self._part) for number in range(1, len(run.ops) + 1)]

    def inject(self, point: Point, _box: Path) -> Injection:
        """Send the signal while the run is stopped before the point's op."""
        ask = Answer(signal=self.signal_at(point))
        return Injection(lambda _op, n: ask if n == point.at else GO, grace=_GRACE, goes_on=True)

    def objection(self, point: Point, _op: Op | None) -> str:
        """Refuse a number that is not a signal's."""
        known = not point.part or point.part in signal.valid_signals()
        return "" if known else f"{point.part} is not a signal"

    def signal_at(self, point: Point) -> int:
        """Return the number of the signal that a point sends."""
        return point.part or signal.SIGTERM
