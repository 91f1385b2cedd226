"""``torn``: SIGKILL part-way through a write, or a copy that the kernel makes.

A write is one call, but the kernel copies it page by page and a fatal signal ends it in between
(generic_perform_write() checks for one before each page), as can a full disk or a network file
system at any byte. sendfile(2), copy_file_range(2) and splice(2) are cut off likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

from outlive_harness.faults import Blames, Strike
from outlive_harness.intercept.supervisor import CRASH, GO
from outlive_harness.plan import Point
from outlive_harness.trace import WRITES, Op

_PAGE = 4096
#: Page boundaries of one write that are tried: the first and the last few of a large one.
_BOUNDARIES = 6


class Torn:
    """Strikes in each write and copy: after the first byte, in the middle, at page boundaries."""

    name = "torn"
    intercepts = True
    blames: Blames = "op"

    def points(self, ops: Sequence[Op], *, seconds: float, count: int | None, random: Random) -> list[Point]:  # noqa: ARG002
        """Return, for each write, the lengths at which it is torn."""
        return [
            Point(self.name, number, part)
            for number, op in enumerate(ops, start=1)
            if op.kind in WRITES and op.syscall != "ioctl"  # a clone comes whole, or not at all
            for part in cuts(max(op.offset, 0), op.length)
        ]

    def strike(self, point: Point, box: Path) -> Strike:  # noqa: ARG002
        """Let the first bytes of the write through, and kill."""
        return Strike(lambda _op, number: CRASH if number == point.at else GO, tear=point.part)


def cuts(offset: int, length: int) -> list[int]:
    """Return how many bytes of a write arrive: 1, half, up to page boundaries, all but one."""
    boundaries = range(_PAGE - offset % _PAGE, length, _PAGE)
    half = _BOUNDARIES // 2
    chosen = boundaries if len(boundaries) <= _BOUNDARIES else [*boundaries[:half], *boundaries[-half:]]
    return sorted({cut for cut in (1, length // 2, length - 1, *chosen) if 0 < cut < length})
