"""What a fault is: its traits, its points, and what is done to a run at one of them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import ClassVar, Literal, Self

from outlive_harness.intercept.supervisor import Answer
from outlive_harness.results.keywords import CUTS
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import Point

#: Which op a maintainer looks at first if a fault shows something: the one that its point names; the one
# before
#: that, as its effect stands and the named one never ran; or none, if points are no ops.
Blames = Literal["op", "before", "none"]
#: What the second number of a point means: nothing; bytes of a write that still reach the file; a signal;
#: that the file system's journal was just written.
Part = Literal["", "bytes", "signal", "journal"]


@dataclass(frozen=True, slots=True)
class Injection:
    """What is done to one run.

    Attributes:
        answer: what becomes of each op, given its number (from 1); None for a run that is not intercepted.
            The first answer that is not "go on" is where the fault is injected.
        after_seconds: SIGKILL the run after this much wall time, wherever it is.
        tear: bytes of the write at the crash that still reach the file.
        grace: seconds that the run has left after a signal was sent to it.
        goes_on: whether the run may go on after the fault, so that what it shows from then on is judged too.
    """

    answer: Callable[[Op, int], Answer] | None
    after_seconds: float | None = None
    tear: int | None = None
    grace: float = 5.0
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run whose crash points are asked for.

    Attributes:
        ops: what it does.
        seconds: how long it takes.
        count: how many points are wanted, for a fault that has no set of its own; the caller samples from all
            others.
        random: decides what is sampled; seeded.
    """

    ops: Sequence[Op]
    seconds: float
    count: int | None
    random: Random


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may choose of faults.

    Attributes:
        signal: the number of the signal that ``term`` sends.
        cuts: where ``torn`` cuts a write: ``pages`` or ``bytes``.
    """

    signal: int = signal.SIGTERM
    cuts: str = CUTS[0]


class Fault:
    """A way in which a machine or a process fails.

    Attributes:
        name: what plans and options call it.
        intercepts: whether calls must be intercepted to inject it.
        counts_ops: whether the number of a point is that of an op.
        part: what the second number of a point means.
        blames: the op whose line is told.
        stops_run: whether the run ends there, so that between two points it did what is between, and no more.
        cuts_power: whether the machine loses power: as the model of the disk says, or a real file system.
        follows_from_ops: whether its crash states follow from the recorded ops of a run, so that repairs of
            these can be tried.
        is_recorded: whether its crash states are taken from a recording of the first run, with no run of
            their own.
        fills_disk: whether it tells the run that the disk is full.
        shares_points: which points leave the same files as others: ``own``, as nothing happens between two of
            its own; ``kill``, as a run that does not handle the signal is killed.
        no_points: what a result says if a run has no point for it; "" for nothing of its own.
    """

    name: str
    intercepts: ClassVar[bool] = True
    counts_ops: ClassVar[bool] = True
    part: ClassVar[Part] = ""
    blames: ClassVar[Blames] = "op"
    stops_run: ClassVar[bool] = False
    cuts_power: ClassVar[Literal["", "model", "real"]] = ""
    follows_from_ops: ClassVar[bool] = False
    is_recorded: ClassVar[bool] = False
    fills_disk: ClassVar[bool] = False
    shares_points: ClassVar[Literal["", "own", "kill"]] = ""
    no_points: ClassVar[str] = ""

    def configured(self, _settings: Settings) -> Self:
        """Return the fault as a user has set it."""
        return self

    def objection(self, _point: Point, _op: Op | None) -> str:
        """Return why a point names nothing; "" if it can be injected.

        Args:
            point: the point, as somebody wrote it.
            op: the op that it names, if that is known.
        """
        return ""

    def rests_on(self, _point: Point, _op: Op) -> str:
        """Return what a crash state rests on that few machines leave; "" if every machine can leave it."""
        return ""


class RunFault(Fault):
    """A fault that is injected into a run while it is under way."""

    def points(self, run: KnownRun) -> list[Point]:
        """Return the crash points of a run, in order."""
        raise NotImplementedError

    def inject(self, point: Point, box: Path) -> Injection:
        """Return what is done to a run in *box* at one of the points."""
        raise NotImplementedError
