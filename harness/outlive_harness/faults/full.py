"""``full``: the disk is full from op k on: what needs room fails with ENOSPC until the restart.

A disk that fills up in the middle of a write takes what it has room for, and the call returns that count
and no error (write(2)): a point with a part, ``full@7.4096``.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from random import Random

from outlive_harness.faults import Blames, Strike
from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.plan import Point
from outlive_harness.trace import Op

#: Kinds that take room on the disk, whatever the file system.
_NEEDS_ROOM = frozenset({"write", "copy", "fallocate", "mkdir", "mknod", "symlink", "link", "setxattr"})
_NO_ROOM = Answer(errno=errno.ENOSPC)
_BLOCK = 4096


class Full:
    """Strikes at each op that needs room, and half-way through each write; all later ones fail."""

    name = "full"
    intercepts = True
    blames: Blames = "op"

    def points(self, ops: Sequence[Op], *, seconds: float, count: int | None, random: Random) -> list[Point]:  # noqa: ARG002
        """Return a point for each op that can need room, and one more where half of a write has it."""
        return [
            Point(self.name, number, part)
            for number, op in enumerate(ops, start=1)
            if op.kind in _NEEDS_ROOM or _creates(op)
            for part in (0, *_shares(op))
        ]

    def strike(self, point: Point, box: Path) -> Strike:
        """Fail what needs room from the op on that the point names."""

        def answer(op: Op, number: int) -> Answer:
            if number < point.at:
                return GO
            if number == point.at and op.kind == "write" and 0 < point.part < op.length:
                return Answer(part=point.part)
            if op.kind in _NEEDS_ROOM or (_creates(op) and not os.path.lexists(box / op.path)):
                return _NO_ROOM
            return GO

        return Strike(answer, goes_on=True)


def _shares(op: Op) -> list[int]:
    """Return how many bytes of a write have room: half, or a little less to the end of a block."""
    half = op.length // 2
    if op.kind != "write" or not half:
        return []
    over = (max(op.offset, 0) + half) % _BLOCK
    return [half - over if over < half else half]


def _creates(op: Op) -> bool:
    return op.kind == "open" and bool(op.flags & os.O_CREAT)
