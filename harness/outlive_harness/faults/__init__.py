"""The faults: one file each, and a line in the table below.

A fault says at which points of a recorded run it can strike, and how the runner is to strike there.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from outlive_harness.plan import Point


@dataclass(frozen=True, slots=True)
class Strike:
    """What the runner does to a run.

    Attributes:
        before_op: SIGKILL the whole tree while it stands before this op (from 1).
        after_seconds: SIGKILL it after this much wall time, wherever it is.
    """

    before_op: int | None = None
    after_seconds: float | None = None


class Fault(Protocol):
    """A way in which a machine fails."""

    name: str
    #: whether ops must be intercepted to strike with it
    intercepts: bool

    def points(self, *, ops: int, seconds: float, count: int | None, random: Random) -> list[Point]:
        """Return the crash points of a run, in order.

        Args:
            ops: how many ops the run makes that is to be struck.
            seconds: how long it takes.
            count: how many points are asked for; None for the fault's own choice.
            random: decides what is sampled; seeded.
        """

    def strike(self, point: Point) -> Strike:
        """Return what to do at one of the points."""


def table() -> dict[str, Fault]:
    """Return all faults by name."""
    from . import kill, timer  # noqa: PLC0415 - the table is asked for late, so faults may import freely

    several: list[Fault] = [kill.Kill(), timer.Timer()]
    return {fault.name: fault for fault in several}
