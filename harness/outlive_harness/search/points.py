"""The crash points of a level: of the first run, or of the recoveries of distinct crash states."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from outlive_harness.faults import Fault, KnownRun
from outlive_harness.faults.table import FAULTS, RUN_FAULTS
from outlive_harness.golden.record import Record
from outlive_harness.golden.similar import distinct, groups
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import Waits, results_of, submit
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import Plan, size
from outlive_harness.results.trials import Trial
from outlive_harness.trial.power_cuts import LEAST, LIMIT, FindPowerCuts, PowerCuts

from .fault_search import FaultSearch, Planned, SearchState

T = TypeVar("T")

#: The most plans after which the power is cut although another plan left equal files.
_AGAIN = 64


@dataclass(frozen=True, slots=True)
class Base:
    """A run in which crashes can be planned: the first, or the recovery of a distinct state.

    Attributes:
        plan: the crashes before the run.
        ops: the run's ops.
        start: the kept crash state that it starts from, if any.
        acks: what was acknowledged before it.
    """

    plan: Plan
    ops: Sequence[Op]
    start: Path | None = None
    acks: tuple[str, ...] = ()


def recoveries(one: SearchState, level: int) -> list[Base]:
    """Return the recoveries of the distinct states that the previous level reached.

    The smallest plan that reaches a state stands for all, as the files are the same and so is the recovery.
    But different parts of them may be durable: see left_again().
    """
    plans: dict[str, Plan] = {}
    for trial in one.trials:
        if len(trial.plan) == level - 1 and trial.reached:
            plans[trial.state] = min(plans.get(trial.state, trial.plan), trial.plan, key=size)
    return [
        Base(plans[trial.state], trial.recovery, one.states / f"{trial.state}.tree", tuple(trial.acks))
        for trial in one.trials
        if len(trial.plan) == level - 1 and trial.judged
    ]


def left_again(one: SearchState, level: int) -> list[Base]:
    """Return recoveries from files that another plan left too, but of which other parts may be durable.

    A run that returns to earlier files has changed them in between, and the disk may have kept those changes.
    But if its files are those of the point before, with only syncs in between, a power cut leaves nothing
    new. After a power cut everything is durable.
    """
    done = [trial for trial in one.trials if len(trial.plan) == level - 1 and trial.reached]
    stands = {trial.state: trial for trial in done if trial.judged}
    taken = {base.plan for base in recoveries(one, level)}
    found: list[Base] = []
    before: Trial | None = None
    for trial in sorted(done, key=lambda trial: trial.plan):
        fault = FAULTS[trial.plan[-1].fault]
        if fault.counts_ops and not fault.cuts_power and trial.state in stands:
            same = before is not None and before.state == trial.state and _is_next(before.plan, trial.plan)
            if trial.plan not in taken and not (same and fault.stops_run):
                judged = stands[trial.state]
                start = one.states / f"{trial.state}.tree"
                found.append(Base(trial.plan, judged.recovery, start, tuple(judged.acks)))
        before = trial
    return found


def _is_next(one: Plan, other: Plan) -> bool:
    """Return whether two plans differ only in their last crash, which is at the same op or the next one."""
    return (one[:-1], one[-1].fault) == (other[:-1], other[-1].fault) and other[-1].at - one[-1].at <= 1


def planned(
    record: Record,
    search: FaultSearch,
    faults: Sequence[Fault],
    bases: Sequence[Base],
    choose: random.Random,
) -> list[Planned]:
    """Plan one more crash in each run, by the faults that are injected into runs."""
    return [
        Planned((*base.plan, point), base.start, base.acks)
        for base in bases
        for fault in faults
        if fault.name in RUN_FAULTS
        for point in RUN_FAULTS[fault.name]
        .configured(search.settings)
        .points(KnownRun(base.ops, record.seconds, None if base.plan else search.options.points, choose))
    ]


def only_distinct(
    record: Record, every: list[Planned], bases: Sequence[Base], choose: random.Random
) -> list[Planned]:
    """Return the points that stand for similar ones after similar first crashes."""
    first = groups(record.ops, record.fold, record.stacks)
    alike = {base.plan: groups(base.ops, record.fold, () if base.plan else record.stacks) for base in bases}
    parts: dict[tuple[Plan, int], int] = {}

    def group(one: Planned) -> tuple[object, ...]:
        *before, last = one.plan
        plan = tuple(before)
        # Points are similar if they cut the same part of a write, not the same byte.
        part = parts[plan, last.at] = parts.get((plan, last.at), -1) + 1
        begun = (plan[0].fault, _at(first, plan[0].at)) if plan else ()
        return last.fault, _at(alike[plan], last.at), part, begun

    return distinct(every, group, choose)


def _at(several: list[int], number: int) -> int:
    return several[min(number, len(several)) - 1] if several else 0


def power_cuts(
    session: Session,
    record: Record,
    one: SearchState,
    bases: list[Base],
    faults: Sequence[Fault],
    level: int,
) -> Waits[list[Planned]]:
    """Plan power cuts in runs, by the faults that cut the power."""
    plans: list[Planned] = []
    for fault in faults:
        if fault.cuts_power == "model":
            again = left_again(one, level) if level > 1 else []
            if len(again) > _AGAIN:
                note = f"power cut after {_AGAIN} of {len(again)} plans that leave equal files"
                one.coverage.leave_out(note)
            runs = bases + draw(again, _AGAIN, one.search.random(level))
            plans += yield from find_power_cuts(session, record, one, runs, fault)
        elif fault.cuts_power == "real" and level == 1:
            plans += yield from find_power_cuts(session, record, one, bases, fault)
    return plans


def find_power_cuts(
    session: Session,
    record: Record,
    one: SearchState,
    bases: Sequence[Base],
    fault: Fault,
    priority: Priority = Priority.RECORDING,
) -> Waits[list[Planned]]:
    """Plan one more power cut in each run; note in the coverage if some or all are left out."""
    search, coverage = one.search, one.coverage
    options = search.options
    # After a power cut on a real disk the model does not know what is durable.
    bases = [base for base in bases if all(FAULTS[point.fault].cuts_power != "real" for point in base.plan)]
    limit = max(LEAST, LIMIT // max(1, len(bases)))
    is_recorded = fault.cuts_power == "model" and not any(base.plan for base in bases)
    until = search.looks_until() if is_recorded else search.until
    tasks = [
        FindPowerCuts(
            record.place,
            base.plan,
            fault.name,
            search.profile,
            options.seed,
            limit,
            options.memory,
            by_exec=search.by_exec,
            is_whole=not search.selects(len(base.ops)),
            until=until,
        )
        for base in bases
    ]
    job = submit(session.root, tasks, priority=priority, rank=one.rank, until=until)
    found = yield from results_of(job)
    starts = {base.plan: base for base in bases}
    reasons = [run.reason for run in found if run.reason]
    if len(found) < len(tasks):
        reasons.append("the budget ended before all runs were recorded")
    coverage.reason = coverage.reason or next(iter(reasons), "")
    chosen = _choice(found)
    if chosen:
        coverage.leave_out(f"{chosen}, seed {options.seed}")
    return [Planned((*run.plan, point), acks=starts[run.plan].acks) for run in found for point in run.points]


def _choice(found: Sequence[PowerCuts]) -> str:
    """Return how the planned power cuts were chosen, in words; "" if all are planned."""
    parts = []
    if any(run.has_more for run in found):
        parts.append(f"a choice of {sum(len(run.points) for run in found)} states")
    taken, there = sum(run.taken for run in found), sum(run.there for run in found)
    if taken < there:
        parts.append(f"power cut after {taken} of {there} ops")
    return ", ".join(parts)


def draw(plans: list[T], count: int | None, choose: random.Random) -> list[T]:
    """Return a sample of plans, in their order; all of them if no number is given."""
    if count is None or count >= len(plans):
        return plans
    return [plans[i] for i in sorted(choose.sample(range(len(plans)), count))]
