"""The faults: one file each, and a line in the table below.

A fault says at which points of a run it can strike, and what the supervisor answers there.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal, Protocol

from outlive_harness.intercept.supervisor import Answer
from outlive_harness.plan import Point
from outlive_harness.scenario import CUTS
from outlive_harness.trace import Op


@dataclass(frozen=True, slots=True)
class Strike:
    """What is done to one run.

    Attributes:
        answer: what becomes of each op, given its number (from 1); None for a run that is not
            intercepted. The first answer that is not "go on" is where the fault strikes.
        after_seconds: SIGKILL the run after this much wall time, wherever it is.
        tear: bytes of the write that it is crashed in front of which still reach the file.
        grace: seconds that the run has left once a signal was sent to it.
        goes_on: the run may go on after the strike, so what it shows from then on is judged too.
    """

    answer: Callable[[Op, int], Answer] | None
    after_seconds: float | None = None
    tear: int | None = None
    grace: float = 5.0
    goes_on: bool = False


#: Which op a maintainer looks at first where a fault shows something: the one that its point names, the one
#: before that, since what that did stands and nothing of the next, or none, where points are no ops.
Blames = Literal["op", "before", "none"]


class Fault(Protocol):
    """A way in which a machine fails."""

    name: str
    #: whether ops must be intercepted to strike with it
    intercepts: bool
    #: the op whose line is told
    blames: Blames


class Striker(Fault, Protocol):
    """A fault that strikes a run while it is under way."""

    def points(self, ops: Sequence[Op], *, seconds: float, count: int | None, random: Random) -> list[Point]:
        """Return the crash points of a run, in order.

        Args:
            ops: what the run does that is to be struck.
            seconds: how long it takes.
            count: how many points are wanted, for a fault that has no set of its own; the caller
                samples from all others.
            random: decides what is sampled; seeded.
        """

    def strike(self, point: Point, box: Path) -> Strike:
        """Return what to do to a run in *box* at one of the points."""


def every() -> dict[str, Fault]:
    """Return all faults by name, with those that only a real file system shows."""
    from outlive_harness.faults.real import RealDisk  # noqa: PLC0415 - see table()
    from outlive_harness.realfs import KINDS  # noqa: PLC0415

    several: list[Fault] = [RealDisk(name) for name in KINDS]
    return table() | {fault.name: fault for fault in several}


def table() -> dict[str, Fault]:
    """Return the faults that can be asked for anywhere, by name."""
    # Asked for late, so that each fault may import from this module.
    from outlive_harness.faults.power import Power  # noqa: PLC0415

    several: list[Fault] = [*_strikers(), Power()]
    return {fault.name: fault for fault in several}


def strikers(*, number: int = signal.SIGTERM, cuts: str = CUTS[0]) -> dict[str, Striker]:
    """Return the faults that strike a run while it is under way, by name.

    Args:
        number: of the signal that ``term`` sends.
        cuts: where ``torn`` cuts a write: ``pages`` or ``bytes``.
    """
    return {fault.name: fault for fault in _strikers(number, cuts)}


def _strikers(number: int = signal.SIGTERM, cuts: str = CUTS[0]) -> list[Striker]:
    from outlive_harness.faults import eio, full, kill, term, timer, torn  # noqa: PLC0415

    return [kill.Kill(), torn.Torn(cuts), full.Full(), eio.Eio(), term.Term(number), timer.Timer()]
