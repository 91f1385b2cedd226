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

#: The op that a maintainer looks at first: the one that the point names; or the one before that, whose effect
#: stands while the named one never ran.
Blames = Literal["op", "before"]
#: The meaning of a point's second number: nothing; bytes of a write that still reach the file; a signal; 1 if
#: the file system has just written its journal.
Part = Literal["", "bytes", "signal", "journal"]


@dataclass(frozen=True, slots=True)
class Injection:
    """What is done to one run.

    Attributes:
        answer: returns the answer to an op, given the op and its number (from 1); None for a run without
            interception. The fault is injected at the first op whose answer is not ``GO``.
        after_seconds: wall time after which the run is killed, wherever it is.
        tear: bytes of the write at the crash that still reach the file.
        grace: seconds from a signal to SIGKILL.
        goes_on: whether the run may continue after the fault, so that its later states are judged too.
    """

    answer: Callable[[Op, int], Answer] | None
    after_seconds: float | None = None
    tear: int | None = None
    grace: float = 5.0
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A recorded run, for which a fault lists its crash points.

    Attributes:
        ops: its ops, in order.
        seconds: its duration.
        count: the number of points asked for, or None; only a fault without a fixed set of points needs it.
        random: a seeded generator, for faults that sample.
    """

    ops: Sequence[Op]
    seconds: float
    count: int | None
    random: Random


@dataclass(frozen=True, slots=True)
class Settings:
    """A user's choices about faults.

    Attributes:
        signal: the number of the signal that ``term`` sends.
        cuts: where ``torn`` cuts a write: ``pages`` or ``bytes``.
    """

    signal: int = signal.SIGTERM
    cuts: str = CUTS[0]


class Fault:
    """A way in which a machine or a process fails.

    Attributes:
        name: its name in plans and options.
        intercepts: whether it needs interception.
        counts_ops: whether a point's number is the number of an op; if not, no op is to blame.
        part: the meaning of a point's second number.
        blames: the op whose source line a report shows.
        stops_run: whether the run ends at the point.
        cuts_power: whether the machine loses power: on the model of the disk, or on a real file system.
        follows_from_ops: whether its crash states follow from a run's ops alone, so that repairs of the ops
            can be tried.
        is_recorded: whether its crash states are taken from a recording of the first run.
        fills_disk: whether the run learns from it that the disk is full.
        skips_unchanged: whether two of its points leave the same files if no op between them changes a file.
        ends_as: the name of the fault that leaves the same files if the signal that is sent ends the process;
            "" if there is none.
        leaves_out: why its points are never exhaustive; "" if they can be.
        no_points: the reason that a result gives if a run has no point for it; "" for the usual one.
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
    skips_unchanged: ClassVar[bool] = False
    ends_as: ClassVar[str] = ""
    leaves_out: ClassVar[str] = ""
    no_points: ClassVar[str] = ""

    def configured(self, _settings: Settings) -> Self:
        """Return the fault with a user's settings."""
        return self

    def objection(self, _point: Point, _op: Op | None) -> str:
        """Return why the fault cannot be injected at a point; "" if it can.

        A user may have typed the point. The op is the one that the point names, None if that is not known.
        """
        return ""

    def rests_on(self, _point: Point, _op: Op) -> str:
        """Return the rare condition that a crash state needs; "" if every machine can leave that state."""
        return ""

    def signal_at(self, _point: Point) -> int:
        """Return the number of the signal that the first process gets at a point; 0 for none."""
        return 0


class RunFault(Fault):
    """A fault that is injected into a run while it is under way."""

    def points(self, run: KnownRun) -> list[Point]:
        """Return the crash points of a run, in order."""
        raise NotImplementedError

    def inject(self, point: Point, box: Path) -> Injection:
        """Return what is done at a point to a run in *box*."""
        raise NotImplementedError
