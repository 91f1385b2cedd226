"""One fault's trials: first single crashes, then crashes in the recoveries of distinct states."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from outlive_harness.faults import Fault
from outlive_harness.golden.golden import Record
from outlive_harness.jobs import queue as board
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.waiting import Waiting, collect, handed_out
from outlive_harness.results.plan import Plan
from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import Coverage
from outlive_harness.trial.recordings import RecordingError, Recordings
from outlive_harness.trial.runner import BoxError
from outlive_harness.trial.trial import TrialTask

from .equivalent import ended_as_killed, equivalent_points, told
from .fault_search import FaultSearch, Planned, SearchState
from .outputs_first import sampled
from .points import Base, cuts_of, draw, only_distinct, planned, recoveries
from .similar import groups

T = TypeVar("T")

#: Torn writes for which a recording is worth its while.
_WORTH = 8
#: Points that are tried first where few may do.
_FIRST_BATCH = 8


@dataclass(frozen=True, slots=True)
class MakeRecording:
    """What a worker is asked to make: the recording of the first run, for all workers.

    Attributes:
        place: directory of the record.
        memory: bytes of recorded data that are kept in memory.
    """

    place: Path
    memory: int

    def carry_out(self, recordings: Recordings, record: Record) -> bool:
        """Make it; say whether crash states can be told from it."""
        recordings.runner.choose_start(record.spec, record.preload)
        try:
            return recordings.of(record, (), memory=self.memory).model is not None
        except (BoxError, OSError):
            recordings.runner.empty()
            return False


@dataclass(frozen=True, slots=True)
class FindUnreachable:
    """What a worker is asked: which plans cut the power as no disk of a profile leaves it.

    Attributes:
        place: directory of the record.
        plans: they.
        profile: what the disk promises.
    """

    place: Path
    plans: tuple[Plan, ...]
    profile: str

    def carry_out(self, recordings: Recordings, record: Record) -> list[Plan]:
        """Find out; of a plan that cannot be told its trial says more."""
        recordings.runner.choose_start(record.spec, record.preload)
        found = []
        for plan in self.plans:
            try:
                found += [] if recordings.is_of(record, plan, self.profile) else [plan]
            except (BoxError, RecordingError, OSError):
                recordings.runner.empty()
        return found


def search_levels(
    session: Session, record: Record, one: SearchState, *, killed: SearchState | None = None
) -> Generator[Waiting, None, None]:
    """Explore one fault, level by level; coverage and trials are filled in on the way.

    Args:
        session: whose workers carry it out.
        record: the golden run.
        one: what is to be done.
        killed: what kills have shown, if they came before.
    """
    search, coverage = one.search, one.coverage
    # The board's order is that of names: who was there first is served first.
    stamp = one.states.name.removeprefix("states-")
    again = yield from _again(session, record, one, f"t-{stamp}-0")
    if search.kept_alone:
        coverage.points = coverage.chosen
        coverage.label = "failures that were kept, alone"
        return
    for level in range(1, search.depth + 1):
        choose = search.random(level)
        faults: Sequence[Fault] = [search.fault] if level == 1 else search.faults
        bases = [Base((), record.ops)] if level == 1 else recoveries(one, level)
        every = planned(record, search, faults, bases, choose, first=level == 1)
        count = len(every)
        selects = search.selects(count)
        if selects:
            every = only_distinct(record, every, bases, choose)
        cuts = yield from cuts_of(session, record, one, bases, faults, level)
        count, every = count + len(cuts), every + cuts
        if level == 1:
            selects = selects or (bool(cuts) and search.selects(len(record.ops)))
            plans = _sample(record, one, every, choose, selects=selects)
        else:
            plans = draw(every, search.options.points, choose)
        if not plans:
            break
        _label(coverage, len(plans), len(every), count, search.options.seed)
        # Those that were struck first are points of their own only where they are not among these.
        coverage.points += count + (len(again - {plan for plan, _, _ in every}) if level == 1 else 0)
        plans = [each for each in plans if each[0] not in again]
        if search.until is not None:  # what is cut off must not always be the same end
            choose.shuffle(plans)
        if level == 1 and search.fault.name == "torn" and len(plans) >= _WORTH and not search.by_exec:
            work = MakeRecording(record.place, search.options.memory)
            made = yield from handed_out(session, f"s-{stamp}", work, bool, until=search.until)
            one.from_recording = bool(made)
        same, known = _alike(record, one, level, [each[0] for each in plans], killed)
        known_plans = {trial.plan for trial in known} | {plan for alike in same.values() for plan in alike}
        tasks = [
            one.task(record, each, keep_states=level < search.deepest)
            for each in plans
            if each[0] not in known_plans
        ]
        yield from _carried_out(session, tasks, f"t-{stamp}-{level}", one)
        known += told(record, one.trials, same)
        coverage.chosen += len(known)
        one.trials += known
        if search.has_enough(one.trials):
            break


def _sample(
    record: Record, one: SearchState, every: list[Planned], choose: random.Random, *, selects: bool
) -> list[Planned]:
    """Return so many plans as were asked for; the coverage learns which outputs these leave out.

    *selects* says that of like points some stand for the others.
    """
    search, count = one.search, one.search.options.points
    if count is None or count >= len(every) or not search.fault.intercepts:
        return draw(every, count, choose)
    alike = groups(record.ops, record.fold, record.stacks) if selects else ()
    sample = sampled(record, [plan for plan, _, _ in every], count, choose, alike=alike)
    one.coverage.reason = one.coverage.reason or sample.gap
    by_plan = {each[0]: each for each in every}
    return [by_plan[plan] for plan in sample.plans]


def _alike(
    record: Record, one: SearchState, level: int, plans: Sequence[Plan], killed: SearchState | None
) -> tuple[dict[Plan, list[Plan]], list[Trial]]:
    """Return which plans others will tell of, unless each is to be struck, and what is told already."""
    search = one.search
    if level > 1 or search.options.select == "all":
        return {}, []
    if search.fault.name == "kill":
        return equivalent_points(record, plans), []
    if search.fault.name == "term" and killed is not None and search.deepest == 1:
        return {}, ended_as_killed(record, plans, killed.trials)
    return {}, []


def _again(
    session: Session, record: Record, one: SearchState, name: str
) -> Generator[Waiting, None, set[Plan]]:
    """Strike first where it failed once; return the plans that were carried out."""
    search = one.search
    if not search.kept:
        return set()
    cut = tuple(plan for plan in search.kept if any(point.fault == "power" for point in plan))
    if cut:
        asked = FindUnreachable(record.place, cut, search.profile)
        one.elsewhere += (yield from handed_out(session, f"{name}-e", asked, list, until=search.until)) or []
    keep = search.deepest > 1
    kept = [plan for plan in search.kept if plan not in one.elsewhere]
    tasks = [one.task(record, (plan, None, ()), keep_states=keep) for plan in kept]
    job = board.post(session.root, name, "trial", tasks, until=search.until)
    waiting = Waiting(job, len(tasks), search.fault.name, search.until)
    done: list[Trial] = []
    try:
        yield waiting
    finally:
        done += collect(waiting, Trial)
        # What no run leaves any more was repaired: nothing is left to be tested.
        met = [trial for trial in done if trial.reached or (trial.trouble and not trial.impossible)]
        one.trials += met
        one.coverage.chosen += len(met)
    one.gone += [trial for trial in done if trial not in met]
    return {trial.plan for trial in met}


def _label(coverage: Coverage, chosen: int, standing: int, count: int, seed: int) -> None:
    """Say it where not all points are struck."""
    if chosen < standing:
        coverage.say(f"sampled {chosen} of {count} points, seed {seed}")
    elif standing < count:
        coverage.say(f"{standing} points stand for {count}, seed {seed}")


def _carried_out(
    session: Session, tasks: list[TrialTask], name: str, one: SearchState
) -> Generator[Waiting, None, None]:
    """Have orders carried out, all of them or until enough was found."""
    search, coverage, known = one.search, one.coverage, one.known
    for number, some in enumerate(_batches(tasks, search)):
        coverage.chosen += len(some)
        one.trials += [known[task.plan] for task in some if task.plan in known]
        left = [task for task in some if task.plan not in known]
        job = board.post(session.root, f"{name}-{number:02d}", "trial", left, until=search.until)
        waiting = Waiting(job, len(left), search.fault.name, search.until, keep=one.keep)
        try:
            yield waiting
        finally:
            one.trials += collect(waiting, Trial)
        if search.has_enough(one.trials):
            if coverage.chosen < coverage.points:
                coverage.label = f"{coverage.chosen} of {coverage.points} points were enough"
            return


def _batches(tasks: list[TrialTask], search: FaultSearch) -> Iterator[list[TrialTask]]:
    """Yield all of the orders at once; where fewer may do, some from all over, and then twice as many.

    What is found then depends on the order of the points, and not on who was how fast.
    """
    start, count = 0, len(tasks)
    if search.wanted or search.first:
        tasks, count = spread(tasks), _FIRST_BATCH
    while start < len(tasks):
        yield tasks[start : start + count]
        start, count = start + count, 2 * count


def spread(items: Sequence[T]) -> list[T]:
    """Return items so that any beginning of them is from all over: what is between those comes later.

    The last one comes first: what nothing made durable shows when all else is done. Then it is halved, and
    halved again, as van der Corput's sequence does.
    """
    bits = max(1, len(items) - 1).bit_length()
    places = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(1 << bits))
    return [items[-1 - place] for place in places if place < len(items)]
