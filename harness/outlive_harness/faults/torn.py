"""``torn``: SIGKILL part-way through a write, or a copy that the kernel makes (see cuts.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from outlive_harness.intercept.supervisor import CRASH, GO
from outlive_harness.results.keywords import CUTS
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import Point

from .cuts import can_be_torn, is_short, lengths
from .fault import Injection, KnownRun, RunFault, Settings

#: What a violation rests on if a kill does not make its cut.
_SHORT_WRITE = (
    "a write cut short inside a page of its file: NFS, FUSE, a signal that is handled or a quota does that; "
    "SIGKILL does not, unless the memory that is written was not there"
)


class Torn(RunFault):
    """Kills in each write and copy: where a page of the file ends, or at other bytes as well.

    Args:
        cuts: ``pages`` or ``bytes``.
    """

    name = "torn"
    part = "bytes"
    stops_run = True
    follows_from_ops = True
    is_recorded = True
    no_points = (
        "torn: no write of this run goes past the end of a page of its file, so no kill can cut one; "
        "--torn bytes (torn='bytes' of a scenario) cuts at any byte: nothing was tested"
    )

    def __init__(self, cuts: str = CUTS[0]) -> None:
        self._cuts = cuts

    def configured(self, settings: Settings) -> Self:
        """Return the fault with the cuts that a user has chosen."""
        return type(self)(settings.cuts)

    def points(self, run: KnownRun) -> list[Point]:
        """Return, for each write, the lengths at which it is torn."""
        torn = [(number, op) for number, op in enumerate(run.ops, start=1) if can_be_torn(op)]
        return [Point(self.name, number, part) for number, op in torn for part in lengths(op, self._cuts)]

    def inject(self, point: Point, _box: Path) -> Injection:
        """Let the first bytes of the write through, and kill."""
        return Injection(lambda _op, number: CRASH if number == point.at else GO, tear=point.part)

    def objection(self, point: Point, op: Op | None) -> str:
        """Refuse an op that is not a write, and a part that is nothing or the whole write."""
        is_cut = op is None or (can_be_torn(op) and 0 < point.part < op.length)
        return "" if is_cut else "which is not torn there"

    def rests_on(self, point: Point, op: Op) -> str:
        """Return what cuts a write at this byte, if SIGKILL does not."""
        return _SHORT_WRITE if op.traits.writes and is_short(op, point.part) else ""
