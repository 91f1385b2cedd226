"""``eio``: one op fails with EIO, as with a bad sector or a lost cable, and later ops succeed.

One of its points fails an fsync that the next fsync does not fail. The written data stays readable; on a
real disk it may be gone, and the second fsync reports nothing, as PostgreSQL found in 2018
(https://wiki.postgresql.org/wiki/Fsync_Errors). This fault does not lose that data.
"""

from __future__ import annotations

import errno
from pathlib import Path

from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.results.plan import Point

from .fault import Injection, KnownRun, RunFault

_FAILED = Answer(errno=errno.EIO)


class Eio(RunFault):
    """Fails one op a run."""

    name = "eio"

    def points(self, run: KnownRun) -> list[Point]:
        """Return a point for each op that can fail."""
        return [Point(self.name, number) for number, op in enumerate(run.ops, start=1) if op.traits.can_fail]

    def inject(self, point: Point, _box: Path) -> Injection:
        """Fail the op that the point names, and no other."""
        return Injection(lambda _op, number: _FAILED if number == point.at else GO, goes_on=True)
