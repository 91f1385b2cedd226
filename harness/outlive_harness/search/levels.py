"""One fault's trials, level by level: single crashes, then crashes in the recoveries of distinct states."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

from outlive_harness.faults import Fault
from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.record import Record
from outlive_harness.golden.similar import groups
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import Job, Waits, gather, result_of, submit
from outlive_harness.results.plan import Plan
from outlive_harness.results.trials import Outcome, Trial
from outlive_harness.results.verdicts import Coverage
from outlive_harness.trial.recording_tasks import FindUnreachable
from outlive_harness.trial.trial import TrialTask

from .equivalent import ended_by_signal, equivalent_points, trials_of_equivalents
from .fault_search import FaultSearch, Planned, SearchState
from .outputs_first import sampled
from .points import Base, draw, only_distinct, planned, power_cuts, recoveries

T = TypeVar("T")

#: Crash states for which it pays to load a recording.
_WORTH = 8
#: Points that are tried first if few may do.
_FIRST_BATCH = 8


def search_levels(
    session: Session, record: Record, one: SearchState, *, alike: SearchState | None = None
) -> Waits[None]:
    """Carry out the search of one fault, and fill in its coverage and trials.

    Args:
        session: the session whose workers run the trials.
        record: the golden run.
        one: the search.
        alike: the search of the fault that this one's ``ends_as`` names, if that was searched before.
    """
    search, coverage = one.search, one.coverage
    again = yield from _again(session, record, one)
    if search.kept_alone:
        coverage.points = coverage.chosen
        coverage.leave_out("only the kept failures")
        return
    for level in range(1, search.depth + 1):
        choose = search.random(level)
        plans = yield from _planned(session, record, one, level, choose, again)
        if not plans:
            break
        plans = [each for each in plans if each.plan not in again]
        if search.until is not None:  # a budget must not always cut off the same points
            choose.shuffle(plans)
        if level == 1:
            enough = search.fault.is_recorded and len(plans) >= _WORTH
            one.from_recording = enough and not search.by_exec
        same, known = _equivalent(record, one, level, [each.plan for each in plans], alike)
        known_plans = {trial.plan for trial in known} | {plan for others in same.values() for plan in others}
        tasks = [
            one.task(record, each, keep_states=level < search.deepest)
            for each in plans
            if each.plan not in known_plans
        ]
        yield from _carry_out(session, tasks, one)
        known += trials_of_equivalents(record, one.trials, same)
        coverage.chosen += len(known)
        one.trials += known
        if search.has_enough(one.trials):
            break


def _planned(
    session: Session,
    record: Record,
    one: SearchState,
    level: int,
    choose: random.Random,
    again: set[Plan],
) -> Waits[list[Planned]]:
    """Return the plans of one level; note in the coverage how many there are, and how many are left out."""
    search, coverage = one.search, one.coverage
    faults: Sequence[Fault] = [search.fault] if level == 1 else search.faults
    bases = [Base((), record.ops)] if level == 1 else recoveries(one, level)
    every = planned(record, search, faults, bases, choose)
    count = len(every)
    selects = search.selects(count)
    if selects:
        every = only_distinct(record, every, bases, choose)
    cuts = yield from power_cuts(session, record, one, bases, faults, level)
    count, every = count + len(cuts), every + cuts
    if level == 1:
        selects = selects or (bool(cuts) and search.selects(len(record.ops)))
        plans = _sample(record, one, every, choose, selects=selects)
    else:
        plans = draw(every, search.options.points, choose)
    if plans:
        _note_choice(coverage, len(plans), len(every), count, search.options.seed)
        # Regressions that were tried first count as points only if they are not among these.
        coverage.points += count + (len(again - {each.plan for each in every}) if level == 1 else 0)
    return plans


def _sample(
    record: Record, one: SearchState, every: list[Planned], choose: random.Random, *, selects: bool
) -> list[Planned]:
    """Return as many plans as were asked for; note in the coverage the outputs without a point.

    With *selects*, some of the similar points stand for the others.
    """
    search, count = one.search, one.search.options.points
    if count is None or count >= len(every) or not search.fault.intercepts:
        return draw(every, count, choose)
    alike = groups(record.ops, record.fold, record.stacks) if selects else ()
    sample = sampled(record, [each.plan for each in every], count, choose, alike=alike)
    one.coverage.reason = one.coverage.reason or sample.gap
    by_plan = {each.plan: each for each in every}
    return [by_plan[plan] for plan in sample.plans]


def _note_choice(coverage: Coverage, chosen: int, standing: int, count: int, seed: int) -> None:
    """Note that not all points are tried, if so."""
    if chosen < standing:
        coverage.leave_out(f"sampled {chosen} of {count} points, seed {seed}")
    elif standing < count:
        coverage.leave_out(f"{standing} points stand for {count}, seed {seed}")


def _equivalent(
    record: Record, one: SearchState, level: int, plans: Sequence[Plan], alike: SearchState | None
) -> tuple[dict[Plan, list[Plan]], list[Trial]]:
    """Return plans with their equivalents, and trials that follow from those of another fault.

    Both are empty if all plans must be tried.
    """
    search = one.search
    if level > 1 or search.options.select == "all":
        return {}, []
    if search.fault.skips_unchanged:
        return equivalent_points(record, plans), []
    if alike is not None and search.deepest == 1:
        return {}, ended_by_signal(record, plans, alike.trials)
    return {}, []


def _again(session: Session, record: Record, one: SearchState) -> Waits[set[Plan]]:
    """Try the regressions first; return the plans that were carried out."""
    search = one.search
    if not search.kept:
        return set()
    cut = tuple(
        plan for plan in search.kept if any(FAULTS[point.fault].cuts_power == "model" for point in plan)
    )
    if cut:
        job = submit(
            session.root,
            [FindUnreachable(record.place, cut, search.profile)],
            priority=Priority.RECORDING,
            rank=one.rank,
            until=search.until,
        )
        one.unreachable += (yield from result_of(job)) or []
    keep = search.deepest > 1
    kept = [plan for plan in search.kept if plan not in one.unreachable]
    tasks = [one.task(record, Planned(plan), keep_states=keep) for plan in kept]
    done: list[Trial] = []
    tried: list[Trial] = []
    try:
        yield from gather(_submitted(session, one, tasks), done)
    finally:
        # A state that no run leaves any more was repaired: nothing is left to test.
        tried += [trial for trial in done if trial.reached or trial.outcome is Outcome.FAILED]
        one.trials += tried
        one.coverage.chosen += len(tried)
    one.gone += [trial for trial in done if trial not in tried]
    return {trial.plan for trial in tried}


def _submitted(session: Session, one: SearchState, tasks: list[TrialTask]) -> Job[Trial]:
    return submit(
        session.root,
        tasks,
        priority=Priority.TRIAL,
        rank=one.rank,
        until=one.search.until,
        label=one.search.fault.name,
        keep=one.keep,
    )


def _carry_out(session: Session, tasks: list[TrialTask], one: SearchState) -> Waits[None]:
    """Carry out trials, all of them or until enough violations are found."""
    search, coverage, known = one.search, one.coverage, one.known
    for some in _batches(tasks, search):
        coverage.chosen += len(some)
        one.trials += [known[task.plan] for task in some if task.plan in known]
        left = [task for task in some if task.plan not in known]
        yield from gather(_submitted(session, one, left), one.trials)
        if search.has_enough(one.trials):
            if coverage.chosen < coverage.points:
                coverage.notes.clear()
                coverage.leave_out(f"{coverage.chosen} of {coverage.points} points were enough")
            return


def _batches(tasks: list[TrialTask], search: FaultSearch) -> Iterator[list[TrialTask]]:
    """Yield all trials at once; if fewer may be enough, a few spread over the run, and then twice as many.

    So the violations that are found depend on the order of the points, and not on the speed of workers.
    """
    start, count = 0, len(tasks)
    if search.wanted or search.first:
        tasks, count = spread(tasks), _FIRST_BATCH
    while start < len(tasks):
        yield tasks[start : start + count]
        start, count = start + count, 2 * count


def spread(items: Sequence[T]) -> list[T]:
    """Return items in an order in which the first *n* are spread over all of them, for any *n*.

    The last item comes first, as data that was never made durable shows at the end. Then the range is halved
    again and again, as in van der Corput's sequence.
    """
    bits = max(1, len(items) - 1).bit_length()
    indexes = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(1 << bits))
    return [items[-1 - index] for index in indexes if index < len(items)]
