"""``full``: the disk is full from op k on: what needs room fails with ENOSPC until the restart."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from random import Random

from outlive_harness.faults import Strike
from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.plan import Point
from outlive_harness.trace import Op

#: Kinds that take room on the disk, whatever the file system.
_NEEDS_ROOM = frozenset({"write", "copy", "fallocate", "mkdir", "mknod", "symlink", "link", "setxattr"})
_NO_ROOM = Answer(errno=errno.ENOSPC)


class Full:
    """Strikes at each op that needs room; all later ones fail likewise, and the rest goes on."""

    name = "full"
    intercepts = True

    def points(self, ops: Sequence[Op], *, seconds: float, count: int | None, random: Random) -> list[Point]:  # noqa: ARG002
        """Return a point for each op that can need room."""
        return [
            Point(self.name, number)
            for number, op in enumerate(ops, start=1)
            if op.kind in _NEEDS_ROOM or _creates(op)
        ]

    def strike(self, point: Point, box: Path) -> Strike:
        """Fail what needs room from the op on that the point names."""

        def answer(op: Op, number: int) -> Answer:
            if number < point.at:
                return GO
            if op.kind in _NEEDS_ROOM or (_creates(op) and not os.path.lexists(box / op.path)):
                return _NO_ROOM
            return GO

        return Strike(answer, goes_on=True)


def _creates(op: Op) -> bool:
    return op.kind == "open" and bool(op.flags & os.O_CREAT)
