"""``eio``: one op fails with EIO, as a bad sector or a lost cable makes it, and the next ones do not.

An fsync that fails once and then succeeds is among them, but what was written stays readable. On a real
disk the data may be gone, and the second fsync does not say so: that is what PostgreSQL met in 2018
(https://wiki.postgresql.org/wiki/Fsync_Errors), and this fault does not make it.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from random import Random

from outlive_harness.faults import Blames, Strike
from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.plan import Point
from outlive_harness.trace import Op

_FAILED = Answer(errno=errno.EIO)
#: Calls that the kernel gives no way to fail.
_NEVER_FAILS = frozenset({"sync"})


class Eio:
    """Strikes at each op, once."""

    name = "eio"
    intercepts = True
    blames: Blames = "op"

    def points(self, ops: Sequence[Op], *, seconds: float, count: int | None, random: Random) -> list[Point]:  # noqa: ARG002
        """Return a point for each op that can fail."""
        return [Point(self.name, n) for n, op in enumerate(ops, start=1) if op.kind not in _NEVER_FAILS]

    def strike(self, point: Point, box: Path) -> Strike:  # noqa: ARG002
        """Fail the op that the point names, and no other."""
        return Strike(lambda _op, number: _FAILED if number == point.at else GO, goes_on=True)
