"""Where runs can be struck: points of the first run, and of the recoveries of distinct crash states."""

from __future__ import annotations

import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from outlive_harness.faults import Fault, strikers
from outlive_harness.faults.power import Power
from outlive_harness.faults.real import RealDisk
from outlive_harness.plan import Plan, size
from outlive_harness.realfs import KINDS
from outlive_harness.trace import Op

from . import board
from .campaign import Campaign, Explored, Planned
from .golden import Record
from .results import Trial
from .select import distinct, groups
from .session import Session
from .survey import LEAST, LIMIT, Survey, Surveyed
from .waiting import Waiting, collect

T = TypeVar("T")

#: Plans that leave files which another one left, too, and after which the power is cut all the same.
_AGAIN = 64
#: Faults that end a run where it stands: between two of their points it did what is between, and no more.
_CUTS_OFF = frozenset({"kill", "torn", "term"})


@dataclass(frozen=True, slots=True)
class Base:
    """A run that can be struck: the first, or the recovery of a distinct state.

    Attributes:
        plan: the crashes before it.
        ops: what it does.
        start: the kept crash state that it starts from, if any.
        acks: what was acknowledged before.
    """

    plan: Plan
    ops: Sequence[Op]
    start: Path | None = None
    acks: tuple[str, ...] = ()


def recoveries(one: Explored, level: int) -> list[Base]:
    """Return the recoveries of the distinct states that the level before reached.

    Of the plans that reach a state the smallest stands for all: the files are the same, and so is what the
    recovery does. How much of them is durable is not: see left_again().
    """
    plans: dict[str, Plan] = {}
    for trial in one.trials:
        if len(trial.plan) == level - 1 and trial.reached and not trial.trouble:
            plans[trial.state] = min(plans.get(trial.state, trial.plan), trial.plan, key=size)
    return [
        Base(plans[trial.state], trial.recovery, one.states / f"{trial.state}.tree", tuple(trial.acks))
        for trial in one.trials
        if len(trial.plan) == level - 1 and trial.judged
    ]


def left_again(one: Explored, level: int) -> list[Base]:
    """Return recoveries from files that another plan left too, but which a power cut may change otherwise.

    A run that comes back to files has changed them meanwhile, and may have changed them on the disk alone.
    Where it stands at the same files as at the point before, with no more than syncs between, all that a
    power cut leaves is left after that point too. After a power cut everything is durable.
    """
    done = [trial for trial in one.trials if len(trial.plan) == level - 1 and trial.reached]
    stands = {trial.state: trial for trial in done if trial.judged}
    taken = {base.plan for base in recoveries(one, level)}
    found: list[Base] = []
    before: Trial | None = None
    for trial in sorted(done, key=lambda trial: trial.plan):
        fault = trial.plan[-1].fault
        if fault not in ("power", "timer", *KINDS) and trial.state in stands:
            same = before is not None and before.state == trial.state and _is_next(before.plan, trial.plan)
            if trial.plan not in taken and not (same and fault in _CUTS_OFF):
                judged = stands[trial.state]
                start = one.states / f"{trial.state}.tree"
                found.append(Base(trial.plan, judged.recovery, start, tuple(judged.acks)))
        before = trial
    return found


def _is_next(one: Plan, other: Plan) -> bool:
    """Tell whether no op was left out between the points of two plans that differ in the last alone."""
    return (one[:-1], one[-1].fault) == (other[:-1], other[-1].fault) and other[-1].at - one[-1].at <= 1


def planned(
    record: Record,
    campaign: Campaign,
    faults: Sequence[Fault],
    bases: list[Base],
    choose: random.Random,
    *,
    first: bool,
) -> list[Planned]:
    """Plan one crash more in each run, by the faults that strike it while it is under way."""
    count = campaign.options.points if first else None
    known = strikers(number=campaign.options.signal, cuts=campaign.cuts)
    return [
        ((*base.plan, point), base.start, base.acks)
        for base in bases
        for fault in faults
        if fault.name in known
        for point in known[fault.name].points(base.ops, seconds=record.seconds, count=count, random=choose)
    ]


def only_distinct(
    record: Record, every: list[Planned], bases: list[Base], choose: random.Random
) -> list[Planned]:
    """Take of like points, after like first crashes, those that stand for the others."""
    first = groups(record.ops, record.fold, record.stacks)
    alike = {base.plan: groups(base.ops, record.fold, () if base.plan else record.stacks) for base in bases}
    parts: dict[tuple[Plan, int], int] = {}

    def group(one: Planned) -> tuple[object, ...]:
        *before, last = one[0]
        plan = tuple(before)
        # The how-manieth part of its write a torn point is, not at which byte.
        part = parts[plan, last.at] = parts.get((plan, last.at), -1) + 1
        begun = (plan[0].fault, _at(first, plan[0].at)) if plan else ()
        return last.fault, _at(alike[plan], last.at), part, begun

    return distinct(every, group, choose)


def _at(several: list[int], number: int) -> int:
    return several[min(number, len(several)) - 1] if several else 0


def cuts_of(
    session: Session, record: Record, one: Explored, bases: list[Base], faults: Sequence[Fault], level: int
) -> Generator[Waiting, None, list[Planned]]:
    """Plan power cuts in the runs that can be struck, by the faults that cut the power."""
    name = f"s-{one.states.name.removeprefix('states-')}-{level}"
    plans: list[Planned] = []
    for fault in faults:
        if isinstance(fault, Power):
            again = left_again(one, level) if level > 1 else []
            if len(again) > _AGAIN:
                one.coverage.say(f"power cut after {_AGAIN} of {len(again)} plans that leave equal files")
            runs = bases + draw(again, _AGAIN, one.campaign.random(level))
            plans += yield from surveyed(session, record, one, runs, fault, name)
        elif isinstance(fault, RealDisk) and level == 1:
            plans += yield from surveyed(session, record, one, bases, fault, name)
    return plans


def surveyed(
    session: Session,
    record: Record,
    one: Explored,
    bases: list[Base],
    fault: Fault,
    name: str,
) -> Generator[Waiting, None, list[Planned]]:
    """Plan one power cut more in each run; the coverage learns why not, or that there are more."""
    campaign, coverage = one.campaign, one.coverage
    options = campaign.options
    # What a real disk lost is known, and not what its recovery then has still to write.
    bases = [base for base in bases if all(point.fault not in KINDS for point in base.plan)]
    limit = max(LEAST, LIMIT // max(1, len(bases)))
    units = [
        Survey(
            record.place,
            base.plan,
            campaign.profile,
            options.seed,
            limit,
            options.memory,
            real=fault.name if isinstance(fault, RealDisk) else "",
            by_exec=campaign.by_exec,
            is_whole=not campaign.selects(len(base.ops)),
        )
        for base in bases
    ]
    job = board.post(session.root, f"{name}-{fault.name}", board.SURVEY, units, until=campaign.until)
    waiting = Waiting(job, len(units), until=campaign.until)
    yield waiting
    found = collect(waiting, Surveyed)
    starts = {base.plan: base for base in bases}
    reasons = [run.reason for run in found if run.reason]
    if len(found) < len(units):
        reasons.append("the budget ended before all runs were recorded")
    coverage.reason = coverage.reason or next(iter(reasons), "")
    chosen = _chosen(found)
    if chosen:
        coverage.say(f"{chosen}, seed {options.seed}")
    return [((*run.plan, point), None, starts[run.plan].acks) for run in found for point in run.points]


def _chosen(found: Sequence[Surveyed]) -> str:
    """Say of how many power cuts those that were planned are a choice; "" if they are all."""
    parts = []
    if any(run.has_more for run in found):
        parts.append(f"a choice of {sum(len(run.points) for run in found)} states")
    taken, there = sum(run.taken for run in found), sum(run.there for run in found)
    if taken < there:
        parts.append(f"power cut after {taken} of {there} ops")
    return ", ".join(parts)


def draw(plans: list[T], count: int | None, choose: random.Random) -> list[T]:
    """Return so many of the plans, in their order; all of them where no number is given."""
    if count is None or count >= len(plans):
        return plans
    return [plans[i] for i in sorted(choose.sample(range(len(plans)), count))]
