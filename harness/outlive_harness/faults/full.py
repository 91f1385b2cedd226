"""``full``: the disk is full from op k on: ops that need room fail with ENOSPC until the restart.

If a disk fills up in the middle of a write, the call writes what fits and returns that count without an
error (write(2)): a point with a part, ``full@7.4096``.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import Point

from .cuts import half
from .fault import Injection, KnownRun, RunFault

_NO_ROOM = Answer(errno=errno.ENOSPC)


class Full(RunFault):
    """Fails an op that needs room, and all such ops after it; also half-way through each write."""

    name = "full"
    part = "bytes"
    fills_disk = True

    def points(self, run: KnownRun) -> list[Point]:
        """Return a point for each op that can need room, and another if half of a write can fit."""
        return [
            Point(self.name, number, part)
            for number, op in enumerate(run.ops, start=1)
            if op.traits.needs_room or op.creates
            for part in dict.fromkeys((0, half(op)))
        ]

    def inject(self, point: Point, box: Path) -> Injection:
        """Fail the ops that need room, from the point's op on."""

        def answer(op: Op, number: int) -> Answer:
            if number < point.at:
                return GO
            if number == point.at and op.kind == "write" and 0 < point.part < op.length:
                return Answer(part=point.part)
            if op.traits.needs_room or (op.creates and not os.path.lexists(box / op.path)):
                return _NO_ROOM
            return GO

        return Injection(answer, goes_on=True)

    def objection(self, point: Point, op: Op | None) -> str:
        """Refuse a part of an op that is not a write, or a part that is the whole write."""
        if op is None or not point.part or (op.kind == "write" and point.part < op.length):
            return ""
        return "which is not torn there"
