"""``full``: the disk is full from op k on: what needs room fails with ENOSPC until the restart.

A disk that fills up in the middle of a write takes what it has room for, and the call returns that count
and no error (write(2)): a point with a part, ``full@7.4096``.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import Point

from .fault import Injection, KnownRun, RunFault

_NO_ROOM = Answer(errno=errno.ENOSPC)
_BLOCK = 4096


class Full(RunFault):
    """Fails each op that needs room, and all later ones; also half-way through each write."""

    name = "full"
    part = "bytes"
    fills_disk = True

    def points(self, run: KnownRun) -> list[Point]:
        """Return a point for each op that can need room, and one more where half of a write has it."""
        return [
            Point(self.name, number, part)
            for number, op in enumerate(run.ops, start=1)
            if op.traits.needs_room or op.creates
            for part in (0, *_shares(op))
        ]

    def inject(self, point: Point, box: Path) -> Injection:
        """Fail what needs room from the op on that the point names."""

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
        """Refuse a part of what is no write, or a part that is all of it."""
        if op is None or not point.part or (op.kind == "write" and point.part < op.length):
            return ""
        return "which is not torn there"


def _shares(op: Op) -> list[int]:
    """Return how many bytes of a write have room: half, or a little less to the end of a block."""
    half = op.length // 2
    if op.kind != "write" or not half:
        return []
    over = (max(op.offset, 0) + half) % _BLOCK
    return [half - over if over < half else half]
