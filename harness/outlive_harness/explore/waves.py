"""One fault's trials: first single crashes, then crashes in the recoveries of distinct states."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from outlive_harness.faults import Fault
from outlive_harness.plan import Plan

from . import board
from .campaign import Campaign, Explored, Planned
from .golden import Record
from .outputs_first import sampled
from .planning import Base, cuts_of, draw, only_distinct, planned, recoveries
from .results import Coverage, Trial
from .runner import BoxError
from .select import groups
from .session import Session
from .tapes import TapeError, Tapes
from .trial import Order
from .twins import ended_as_killed, told, twins
from .waiting import Waiting, collect, handed_out

T = TypeVar("T")

#: Torn writes for which a recording is worth its while.
_WORTH = 8
#: Points that are tried first where few may do.
_FIRST_BATCH = 8


@dataclass(frozen=True, slots=True)
class Recording:
    """What a worker is asked to make: the recording of the first run, for all workers.

    Attributes:
        place: directory of the record.
        memory: bytes of recorded data that are kept in memory.
    """

    place: Path
    memory: int

    def carry_out(self, tapes: Tapes, record: Record) -> bool:
        """Make it; say whether crash states can be told from it."""
        tapes.runner.choose_start(record.subject, record.preload)
        try:
            return tapes.of(record, (), memory=self.memory).model is not None
        except (BoxError, OSError):
            tapes.runner.empty()
            return False


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What a worker is asked: which plans cut the power as no disk of a profile leaves it.

    Attributes:
        place: directory of the record.
        plans: they.
        profile: what the disk promises.
    """

    place: Path
    plans: tuple[Plan, ...]
    profile: str

    def carry_out(self, tapes: Tapes, record: Record) -> list[Plan]:
        """Find out; of a plan that cannot be told its trial says more."""
        tapes.runner.choose_start(record.subject, record.preload)
        found = []
        for plan in self.plans:
            try:
                found += [] if tapes.is_of(record, plan, self.profile) else [plan]
            except (BoxError, TapeError, OSError):
                tapes.runner.empty()
        return found


def waves(
    session: Session, record: Record, one: Explored, *, killed: Explored | None = None
) -> Generator[Waiting, None, None]:
    """Explore one fault, level by level; coverage and trials are filled in on the way.

    Args:
        session: whose workers carry it out.
        record: the golden run.
        one: what is to be done.
        killed: what kills have shown, if they came before.
    """
    campaign, coverage = one.campaign, one.coverage
    # The board's order is that of names: who was there first is served first.
    stamp = one.states.name.removeprefix("states-")
    again = yield from _again(session, record, one, f"t-{stamp}-0")
    if campaign.kept_alone:
        coverage.points = coverage.chosen
        coverage.label = "failures that were kept, alone"
        return
    for level in range(1, campaign.depth + 1):
        choose = campaign.random(level)
        faults: Sequence[Fault] = [campaign.fault] if level == 1 else campaign.faults
        bases = [Base((), record.ops)] if level == 1 else recoveries(one, level)
        every = planned(record, campaign, faults, bases, choose, first=level == 1)
        count = len(every)
        selects = campaign.selects(count)
        if selects:
            every = only_distinct(record, every, bases, choose)
        cuts = yield from cuts_of(session, record, one, bases, faults, level)
        count, every = count + len(cuts), every + cuts
        if level == 1:
            selects = selects or (bool(cuts) and campaign.selects(len(record.ops)))
            plans = _sample(record, one, every, choose, selects=selects)
        else:
            plans = draw(every, campaign.options.points, choose)
        if not plans:
            break
        _label(coverage, len(plans), len(every), count, campaign.options.seed)
        # Those that were struck first are points of their own only where they are not among these.
        coverage.points += count + (len(again - {plan for plan, _, _ in every}) if level == 1 else 0)
        plans = [each for each in plans if each[0] not in again]
        if campaign.until is not None:  # what is cut off must not always be the same end
            choose.shuffle(plans)
        if level == 1 and campaign.fault.name == "torn" and len(plans) >= _WORTH and not campaign.by_exec:
            work = Recording(record.place, campaign.options.memory)
            made = yield from handed_out(session, f"s-{stamp}", work, bool, until=campaign.until)
            one.taped = bool(made)
        same, known = _alike(record, one, level, [each[0] for each in plans], killed)
        known_plans = {trial.plan for trial in known} | {plan for alike in same.values() for plan in alike}
        orders = [
            one.order(record, each, keep_states=level < campaign.deepest)
            for each in plans
            if each[0] not in known_plans
        ]
        yield from _carried_out(session, orders, f"t-{stamp}-{level}", one)
        known += told(record, one.trials, same)
        coverage.chosen += len(known)
        one.trials += known
        if campaign.has_enough(one.trials):
            break


def _sample(
    record: Record, one: Explored, every: list[Planned], choose: random.Random, *, selects: bool
) -> list[Planned]:
    """Return so many plans as were asked for; the coverage learns which outputs these leave out.

    *selects* says that of like points some stand for the others.
    """
    campaign, count = one.campaign, one.campaign.options.points
    if count is None or count >= len(every) or not campaign.fault.intercepts:
        return draw(every, count, choose)
    alike = groups(record.ops, record.fold, record.stacks) if selects else ()
    sample = sampled(record, [plan for plan, _, _ in every], count, choose, alike=alike)
    one.coverage.reason = one.coverage.reason or sample.gap
    by_plan = {each[0]: each for each in every}
    return [by_plan[plan] for plan in sample.plans]


def _alike(
    record: Record, one: Explored, level: int, plans: Sequence[Plan], killed: Explored | None
) -> tuple[dict[Plan, list[Plan]], list[Trial]]:
    """Return which plans others will tell of, unless each is to be struck, and what is told already."""
    campaign = one.campaign
    if level > 1 or campaign.options.select == "all":
        return {}, []
    if campaign.fault.name == "kill":
        return twins(record, plans), []
    if campaign.fault.name == "term" and killed is not None and campaign.deepest == 1:
        return {}, ended_as_killed(record, plans, killed.trials)
    return {}, []


def _again(session: Session, record: Record, one: Explored, name: str) -> Generator[Waiting, None, set[Plan]]:
    """Strike first where it failed once; return the plans that were carried out."""
    campaign = one.campaign
    if not campaign.kept:
        return set()
    cut = tuple(plan for plan in campaign.kept if any(point.fault == "power" for point in plan))
    if cut:
        asked = Elsewhere(record.place, cut, campaign.profile)
        one.elsewhere += (
            yield from handed_out(session, f"{name}-e", asked, list, until=campaign.until)
        ) or []
    keep = campaign.deepest > 1
    kept = [plan for plan in campaign.kept if plan not in one.elsewhere]
    orders = [one.order(record, (plan, None, ()), keep_states=keep) for plan in kept]
    job = board.post(session.root, name, "trial", orders, until=campaign.until)
    waiting = Waiting(job, len(orders), campaign.fault.name, campaign.until)
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
    session: Session, orders: list[Order], name: str, one: Explored
) -> Generator[Waiting, None, None]:
    """Have orders carried out, all of them or until enough was found."""
    campaign, coverage, known = one.campaign, one.coverage, one.known
    for number, some in enumerate(_batches(orders, campaign)):
        coverage.chosen += len(some)
        one.trials += [known[order.plan] for order in some if order.plan in known]
        left = [order for order in some if order.plan not in known]
        job = board.post(session.root, f"{name}-{number:02d}", "trial", left, until=campaign.until)
        waiting = Waiting(job, len(left), campaign.fault.name, campaign.until, keep=one.keep)
        try:
            yield waiting
        finally:
            one.trials += collect(waiting, Trial)
        if campaign.has_enough(one.trials):
            if coverage.chosen < coverage.points:
                coverage.label = f"{coverage.chosen} of {coverage.points} points were enough"
            return


def _batches(orders: list[Order], campaign: Campaign) -> Iterator[list[Order]]:
    """Yield all of the orders at once; where fewer may do, some from all over, and then twice as many.

    What is found then depends on the order of the points, and not on who was how fast.
    """
    start, count = 0, len(orders)
    if campaign.wanted or campaign.first:
        orders, count = spread(orders), _FIRST_BATCH
    while start < len(orders):
        yield orders[start : start + count]
        start, count = start + count, 2 * count


def spread(items: Sequence[T]) -> list[T]:
    """Return items so that any beginning of them is from all over: what is between those comes later.

    The last one comes first: what nothing made durable shows when all else is done. Then it is halved, and
    halved again, as van der Corput's sequence does.
    """
    bits = max(1, len(items) - 1).bit_length()
    places = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(1 << bits))
    return [items[-1 - place] for place in places if place < len(items)]
