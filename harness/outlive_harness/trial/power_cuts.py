"""The power cuts of a run, found by the worker that records the run."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from outlive_harness.disk.power import PowerModel, State
from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.record import Record
from outlive_harness.golden.similar import distinct, groups
from outlive_harness.jobs.tasks import Task
from outlive_harness.results.options import MEMORY
from outlive_harness.results.plan import Plan, Point
from outlive_harness.world.box import BoxError

from .bench import Bench
from .real_disk import real_cuts
from .recording import Recording

#: Crash states of one fault and level that are tried; the kinds that are fatal most often come first.
LIMIT = 2048
#: Crash states of each run that are tried, whatever the limit.
LEAST = 8


@dataclass(slots=True)
class PowerCuts:
    """The power cuts of a run.

    Attributes:
        plan: the crashes before the run.
        points: the power cuts in the run.
        has_more: whether there may be more than these.
        taken: the number of ops after which the power is cut.
        there: the number of the run's ops.
        reason: why the power cuts are unknown; "" if they are known.
    """

    plan: Plan
    points: list[Point] = field(default_factory=list)
    has_more: bool = False
    taken: int = 0
    there: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FindPowerCuts(Task[PowerCuts]):
    """Finds the power cuts of a run.

    Attributes:
        place: the record's directory.
        plan: the crashes before the run.
        fault: the name of the fault that cuts the power.
        profile: the disk's profile.
        seed: the seed of the random states, which come after the systematic ones.
        limit: the greatest number of crash points.
        memory: bytes of recorded data that are kept in memory.
        by_exec: whether the run starts by exec even if there is a zygote.
        is_whole: whether the power is cut after each op, not only after those that stand for others.
        until: wall-clock time after which no more are looked for; None for no limit.
    """

    place: Path
    plan: Plan
    fault: str
    profile: str
    seed: int
    limit: int = LIMIT
    memory: int = MEMORY
    by_exec: bool = False
    is_whole: bool = True
    until: float | None = None

    def run(self, bench: Bench) -> PowerCuts:
        """Record the run and return its power cuts; errors of the machine are in the result."""
        found, record = PowerCuts(self.plan), bench.record(self.place)
        bench.runner.choose_start(record.spec, None if self.by_exec else record.preload)
        try:
            if FAULTS[self.fault].cuts_power == "real":
                cuts = real_cuts(bench.runner, record, self.fault, self.seed)
                found.points, found.reason = cuts.points(self.fault), cuts.reason
                found.taken, found.there = len({number for number, _ in cuts.trees}), cuts.most
                return found
            recording, model = bench.recordings.of(record, self.plan, memory=self.memory)
            found.reason = recording.reason
            if model is not None:
                _find(self, record, recording, model, found)
        except (BoxError, OSError) as error:
            found.reason = str(error)
        return found

    def lost(self, why: str) -> PowerCuts:
        """Return no power cuts."""
        return PowerCuts(self.plan, reason=why)


def _find(
    wanted: FindPowerCuts, record: Record, recording: Recording, model: PowerModel, found: PowerCuts
) -> None:
    """Find the power cuts of a recorded run."""
    found.there = len(recording.ops) - recording.last
    numbers: Sequence[int] = range(1, found.there + 1)
    if not wanted.is_whole:
        stacks = () if wanted.plan else record.stacks
        alike = groups(recording.ops[recording.last :], record.fold, stacks)
        numbers = distinct(numbers, lambda number: alike[number - 1], Random(wanted.seed))
    found.taken = len(numbers)
    found.points, found.has_more = power_cuts(wanted, recording, model.under(wanted.profile), numbers)


def power_cuts(
    wanted: FindPowerCuts, recording: Recording, model: PowerModel, numbers: Sequence[int]
) -> tuple[list[Point], bool]:
    """Return the crash points of a recorded run, no two with equal files, and whether there may be more.

    Each op has a share of the limit, and what it does not use is shared by the later ones. Equal files are
    different crash states if more was acknowledged before one of them.
    """
    points: list[Point] = []
    seen: dict[int, set[str]] = {}
    has_more = False
    if wanted.until is not None:  # those that there is time for are spread over the run
        numbers = Random(wanted.seed).sample(numbers, len(numbers))
    moments = list(model.moments(recording.last + number for number in numbers))
    for left, (at, returned) in zip(range(len(moments), 0, -1), moments, strict=True):
        if wanted.until is not None and time.time() > wanted.until:
            has_more = True
            break
        share = max(1, (wanted.limit - len(points)) // left)
        number = at - recording.last
        promised = recording.said[number if returned else number - 1]
        known = seen.setdefault(promised, set())
        states = model.states(at, seed=wanted.seed, budget=share, seen=known, returned=returned)
        found, are_more = _all(states)
        if promised != recording.said[number]:
            # A replay id that can also mean that the op had returned also demands what was promised then.
            found = [state for state in found if not model.find(at, state.lost).returned]
        points += [Point(wanted.fault, number, lost=state.lost) for state in found]
        has_more = has_more or are_more
    return sorted(points, key=lambda point: point.at), has_more


def _all(states: Generator[State, None, bool]) -> tuple[list[State], bool]:
    """Return all states of an op, and whether there may be more."""
    found = []
    while True:
        try:
            found.append(next(states))
        except StopIteration as end:
            return found, end.value
