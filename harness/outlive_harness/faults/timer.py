"""``timer``: SIGKILL at random moments of wall time, for machines where calls cannot be intercepted.

It is never exhaustive, and its replays are as exact as the machine's clock and load allow.
"""

from __future__ import annotations

from pathlib import Path

from outlive_harness.results.plan import Point

from .fault import Injection, KnownRun, RunFault

#: Moments that are tried if no number is given.
_MOMENTS = 20


class Timer(RunFault):
    """Kills at seeded moments between the start and the golden run's duration."""

    name = "timer"
    intercepts = False
    counts_ops = False
    leaves_out = "random moments, never exhaustive"

    def points(self, run: KnownRun) -> list[Point]:
        """Return moments in microseconds after the start, in order."""
        last = max(2, int(run.seconds * 1e6))
        moments = {run.random.randint(1, last) for _ in range(run.count or _MOMENTS)}
        return [Point(self.name, moment) for moment in sorted(moments)]

    def inject(self, point: Point, _box: Path) -> Injection:
        """Kill at the moment that the point names."""
        return Injection(None, after_seconds=point.at / 1e6)
