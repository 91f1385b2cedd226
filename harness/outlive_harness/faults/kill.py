"""``kill``: SIGKILL before each op: every state that files can be in when a process dies."""

from __future__ import annotations

from pathlib import Path

from outlive_harness.intercept.supervisor import CRASH, GO
from outlive_harness.results.plan import Point

from .fault import Injection, KnownRun, RunFault


class Kill(RunFault):
    """Kills before op 1, 2, ... of the run."""

    name = "kill"
    blames = "before"
    stops_run = True
    follows_from_ops = True
    skips_unchanged = True

    def points(self, run: KnownRun) -> list[Point]:
        """Return a point for each op."""
        return [Point(self.name, number) for number in range(1, len(run.ops) + 1)]

    def inject(self, point: Point, _box: Path) -> Injection:
        """Kill before the op that the point names."""
        return Injection(lambda _op, number: CRASH if number == point.at else GO)
