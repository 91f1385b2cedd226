"""``eio``: one op fails with EIO, as a bad sector or a lost cable makes it, and the next ones do not.

An fsync that fails once and then succeeds is among them, but what was written stays readable. On a real
disk the data may be gone, and the second fsync does not say so: that is what PostgreSQL met in 2018
(https://wiki.postgresql.org/wiki/Fsync_Errors), and this fault does not make it.
"""

from __future__ import annotations

import errno
from pathlib import Path

from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.results.plan import Point

from .fault import Injection, KnownRun, RunFault

_FAILED = Answer(errno=errno.EIO)


class Eio(RunFault):
    """Fails each op, one a run."""

    name = "eio"

    def points(self, run: KnownRun) -> list[Point]:
        """Return a point for each op that can fail."""
        return [Point(self.name, number) for number, op in enumerate(run.ops, start=1) if op.traits.can_fail]

    def inject(self, point: Point, _box: Path) -> Injection:
        """Fail the op that the point names, and no other."""
        return Injection(lambda _op, number: _FAILED if number == point.at else GO, goes_on=True)
