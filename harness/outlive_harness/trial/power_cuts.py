"""Which power cuts there are in a run: found out by the worker that records it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from outlive_harness.faults.power import Power
from outlive_harness.golden.golden import Record
from outlive_harness.results.plan import Plan, Point
from outlive_harness.search.similar import distinct, groups

from .real_disk import real_cuts
from .recordings import MEMORY, Recordings
from .runner import BoxError

#: Crash states of one fault and level that are explored: the most often fatal kinds come first.
LIMIT = 2048
#: But of each run so many at least.
LEAST = 8


@dataclass(frozen=True, slots=True)
class FindPowerCuts:
    """What a worker is asked to find out.

    Attributes:
        place: directory of the record.
        plan: the crashes before the run that is asked about.
        profile: what the disk promises.
        seed: decides what is tried after the states of a set kind.
        limit: crash points, at most.
        memory: bytes of recorded data that are kept in memory.
        real: the file system that the power is cut on; "" for the model of the disk.
        by_exec: whether the run is to be an exec, though a zygote would do.
        is_whole: whether the power is cut after each op, or after those that stand for the others.
    """

    place: Path
    plan: Plan
    profile: str
    seed: int
    limit: int = LIMIT
    memory: int = MEMORY
    real: str = ""
    by_exec: bool = False
    is_whole: bool = True


@dataclass(slots=True)
class PowerCuts:
    """What was found out.

    Attributes:
        plan: the crashes before the run.
        points: the power cuts in it.
        has_more: whether there may be more than those.
        taken: after how many ops of the run the power is cut.
        there: how many it has.
        reason: why there are none; "" if it could be found out.
    """

    plan: Plan
    points: list[Point] = field(default_factory=list)
    has_more: bool = False
    taken: int = 0
    there: int = 0
    reason: str = ""


def survey(recordings: Recordings, record: Record, wanted: FindPowerCuts) -> PowerCuts:
    """Record a run and return its power cuts; trouble with the machine is told, not raised."""
    found = PowerCuts(wanted.plan)
    recordings.runner.choose_start(record.spec, None if wanted.by_exec else record.preload)
    try:
        if wanted.real:
            cuts = real_cuts(recordings.runner, record, wanted.real, wanted.seed)
            found.points, found.reason = cuts.points(wanted.real), cuts.reason
            found.taken, found.there = len({number for number, _ in cuts.trees}), cuts.most
            return found
        recording, model = recordings.of(record, wanted.plan, memory=wanted.memory)
        found.reason = recording.reason
        if model is not None:
            numbers: Sequence[int] = range(1, len(recording.ops) - recording.last + 1)
            if not wanted.is_whole:
                alike = groups(
                    recording.ops[recording.last :], record.fold, () if wanted.plan else record.stacks
                )
                numbers = distinct(numbers, lambda number: alike[number - 1], Random(wanted.seed))
            found.taken, found.there = len(numbers), len(recording.ops) - recording.last
            found.points, found.has_more = Power().points(
                model.under(wanted.profile),
                recording.last,
                recording.said,
                numbers=numbers,
                seed=wanted.seed,
                limit=wanted.limit,
            )
    except (BoxError, OSError) as error:
        found.reason = str(error)
    return found
