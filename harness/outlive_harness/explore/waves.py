"""One fault's trials: first single crashes, then crashes in the recoveries of distinct states."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from outlive_harness.faults import Fault, strikers
from outlive_harness.faults.power import Power
from outlive_harness.faults.real import RealDisk
from outlive_harness.plan import Plan, plan_text, size
from outlive_harness.realfs import KINDS
from outlive_harness.scenario import Scenario
from outlive_harness.trace import Op

from . import board
from .golden import Record
from .options import Options
from .results import Broken, Coverage, Trial
from .runner import BoxError
from .select import MANY, distinct, groups
from .session import Session
from .survey import LEAST, LIMIT, Survey, Surveyed
from .tapes import TapeError, Tapes
from .trial import Order
from .twins import ended_as_killed, told, twins
from .unfinished import Unfinished

#: A plan, the kept crash state that it starts from, if any, and what was acknowledged before.
Planned = tuple[Plan, Path | None, tuple[str, ...]]


T = TypeVar("T")

#: Crashes in a row beyond those asked for, while time of a budget is left.
MORE = 2
#: Torn writes for which a recording is worth its while.
_WORTH = 8
#: Points that are tried first where few may do.
_FIRST_BATCH = 8
#: Plans that leave files which another one left, too, and after which the power is cut all the same.
_AGAIN = 64
#: Faults that end a run where it stands: between two of their points it did what is between, and no more.
_CUTS_OFF = frozenset({"kill", "torn", "term"})


class HarnessError(RuntimeError):
    """A fault of ours, with its traceback."""


@dataclass(slots=True)
class Waiting:
    """A job that an exploration waits for."""

    job: Path
    count: int
    fault: str = ""
    until: float | None = None
    seen: int = 0
    next_look: float = 0.0
    results: dict[int, object] = field(default_factory=dict)
    fresh: list[object] = field(default_factory=list)
    keep: Callable[[object], None] | None = None

    def is_over(self) -> bool:
        """Tell whether all that will be done of it is done; note how much is."""
        now = time.monotonic()
        if now < self.next_look:
            return False
        # Listing thousands of results for each that arrives would cost more than the trials.
        self.next_look = now + self.count * 1e-4
        self.look()
        if self.seen == self.count:
            return True
        if self.until is None or time.time() < self.until + 0.2:
            return False
        claimed = sum(1 for path in (self.job / "claims").iterdir() if path.name.isdigit())
        return claimed == self.seen

    def look(self) -> None:
        """Take in what has been done since the last look."""
        for number in sorted(board.done(self.job) - self.results.keys()):
            self.results[number] = result = board.load(self.job / "results" / str(number))
            self.fresh.append(result)
            if self.keep is not None:
                self.keep(result)
        self.seen = len(self.results)

    def news(self) -> list[object]:
        """Return what has been done since this was last asked for."""
        news, self.fresh = self.fresh, []
        return news


@dataclass(frozen=True, slots=True)
class Campaign:
    """What one fault's exploration of one scenario is to do.

    Attributes:
        scenario: what is explored.
        name: the fault that was asked for.
        fault: what strikes first: that one, or what stands in for it.
        faults: what may strike the recoveries.
        options: the user's.
        until: moment of the wall clock after which no trial is begun; None for no limit.
        label: what must be known of its coverage.
        by_exec: whether each run is to be an exec.
        wanted: kinds of violations that end the exploration once they are found; none to go on to its end.
        first: whether any violation ends it.
        kept: plans that failed once, to be carried out first.
        kept_alone: whether there is nothing to be done beside these.
    """

    scenario: Scenario
    name: str
    fault: Fault
    faults: Sequence[Fault]
    options: Options
    until: float | None = None
    label: str = ""
    by_exec: bool = False
    wanted: frozenset[str] = frozenset()
    first: bool = False
    kept: tuple[Plan, ...] = ()
    kept_alone: bool = False

    def has_enough(self, trials: Sequence[Trial]) -> bool:
        """Tell whether all that is wanted was found: then nothing further can change the verdict."""
        found = {finding.kind for trial in trials for finding in trial.findings}
        return bool(found) if self.first else bool(self.wanted) and self.wanted <= found

    @property
    def depth(self) -> int:
        """How many crashes in a row there are to be."""
        return max(self.options.depth, self.scenario.depth)

    @property
    def deepest(self) -> int:
        """How many there may be, where time is left: what recoveries do is then kept."""
        return self.depth + (MORE if self.options.budget is not None and not self.scenario.expect else 0)

    @property
    def profile(self) -> str:
        """What the disk promises."""
        return self.options.profile_of(self.scenario)

    def selects(self, count: int) -> bool:
        """Tell whether not all of so many points are to be carried out."""
        select = self.options.select
        return select == "distinct" or (select == "auto" and count > MANY)

    def random(self, level: int) -> random.Random:
        """Return the source of all choices of one level."""
        text = f"{self.options.seed}:{self.scenario.name}:{self.fault.name}:{level}"
        return random.Random(text.encode(errors="surrogateescape"))  # a name may be no UTF-8


@dataclass(slots=True)
class Explored:
    """One fault's exploration, as far as it has come.

    Attributes:
        campaign: what it is to do.
        coverage: how much was done.
        states: directory where its crash states are claimed, and kept for deeper plans.
        clean: directory where all faults of the record note from which states a recovery did all it must.
        trials: what was done.
        gone: trials of plans that failed once, and have nothing to reach any more.
        elsewhere: plans that failed once, on a disk that promises less.
        taped: whether torn writes are told from a recording of the first run.
        unfinished: where trials are kept in case that the run is cut short, and what was kept before.
    """

    campaign: Campaign
    coverage: Coverage
    states: Path
    clean: Path
    trials: list[Trial] = field(default_factory=list)
    gone: list[Trial] = field(default_factory=list)
    elsewhere: list[Plan] = field(default_factory=list)
    taped: bool = False
    unfinished: Unfinished | None = None

    @property
    def known(self) -> dict[Plan, Trial]:
        """Trials that a run which was cut short had done; none where deeper plans need what they left."""
        if self.unfinished is None or self.campaign.deepest > 1:
            return {}
        return self.unfinished.known(self._label)

    def keep(self, result: object) -> None:
        """Keep what was done, in case that this run is cut short as well."""
        if self.unfinished is not None and self.campaign.deepest == 1 and isinstance(result, Trial):
            self.unfinished.add(self._label, result)

    @property
    def _label(self) -> str:
        return self.campaign.fault.name + ("-exec" if self.campaign.by_exec else "")

    def order(self, record: Record, what: Planned, *, keep_states: bool) -> Order:
        """Return what a worker is to do for one plan."""
        plan, start, acks = what
        return Order(
            record.place,
            plan,
            self.states,
            self.clean,
            start,
            keep_states=keep_states,
            acks=acks,
            memory=self.campaign.options.memory,
            by_exec=self.campaign.by_exec,
            taped=self.taped,
        )


def explored(record: Record, campaign: Campaign, unfinished: Unfinished | None = None) -> Explored:
    """Begin one fault's exploration, or go on with one that was cut short."""
    profile = campaign.profile if campaign.name == "power" else ""
    coverage = Coverage(label=campaign.label, profile=profile)
    states = record.place / f"states-{time.time_ns()}-{record.place.name}-{campaign.fault.name}"
    states.mkdir()
    # What was seen in a warm interpreter is no proof where each run is to be an exec.
    clean = record.place / ("clean-exec" if campaign.by_exec else "clean")
    clean.mkdir(exist_ok=True)
    one = Explored(campaign, coverage, states, clean, unfinished=unfinished)
    for trial in one.known.values():
        if trial.judged:
            board.first_to(states, trial.state, plan_text(trial.plan))
    return one


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
        if campaign.selects(count):
            every = _distinct(record, every, bases, choose)
        cuts = yield from _cuts(session, record, one, bases, faults, level)
        count, every = count + len(cuts), every + cuts
        plans = _sample(every, campaign.options.points, choose)
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
        _say(coverage, f"sampled {chosen} of {count} points, seed {seed}")
    elif standing < count:
        _say(coverage, f"{standing} points stand for {count}, seed {seed}")


def _say(coverage: Coverage, text: str) -> None:
    """Add to what must be known of a coverage."""
    coverage.label = f"{coverage.label}; {text}" if coverage.label else text


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


def spread(items: Sequence[T]) -> list[T]:
    """Return items so that any beginning of them is from all over: what is between those comes later.

    The last one comes first: what nothing made durable shows when all else is done. Then it is halved, and
    halved again, as van der Corput's sequence does.
    """
    bits = max(1, len(items) - 1).bit_length()
    places = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(1 << bits))
    return [items[-1 - place] for place in places if place < len(items)]


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
    known = strikers(number=campaign.options.signal)
    return [
        ((*base.plan, point), base.start, base.acks)
        for base in bases
        for fault in faults
        if fault.name in known
        for point in known[fault.name].points(base.ops, seconds=record.seconds, count=count, random=choose)
    ]


def _distinct(
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


def _cuts(
    session: Session, record: Record, one: Explored, bases: list[Base], faults: Sequence[Fault], level: int
) -> Generator[Waiting, None, list[Planned]]:
    """Plan power cuts in the runs that can be struck, by the faults that cut the power."""
    name = f"s-{one.states.name.removeprefix('states-')}-{level}"
    plans: list[Planned] = []
    for fault in faults:
        if isinstance(fault, Power):
            again = left_again(one, level) if level > 1 else []
            if len(again) > _AGAIN:
                _say(one.coverage, f"power cut after {_AGAIN} of {len(again)} plans that leave equal files")
            runs = bases + _sample(again, _AGAIN, one.campaign.random(level))
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
        _say(coverage, f"{chosen}, seed {options.seed}")
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


def _sample(plans: list[T], count: int | None, choose: random.Random) -> list[T]:
    """Return so many of the plans, in their order; all of them where no number is given."""
    if count is None or count >= len(plans):
        return plans
    return [plans[i] for i in sorted(choose.sample(range(len(plans)), count))]


def handed_out(
    session: Session, name: str, payload: object, kind: type[T], *, until: float | None = None
) -> Generator[Waiting, None, T | None]:
    """Have a worker do what a payload says; None where time was up before one began.

    Raises:
        HarnessError: a fault of ours in it.
    """
    job = board.post(session.root, f"{name}-{time.time_ns()}", board.TASK, [payload], until=until)
    waiting = Waiting(job, 1, until=until)
    yield waiting
    return next(iter(collect(waiting, kind)), None)


def collect(waiting: Waiting, kind: type[T]) -> list[T]:  # noqa: ARG001 - for the type checker
    """Take a job from the board and return what was done of it: results of one kind.

    Raises:
        HarnessError: a fault of ours in one of its units.
    """
    board.close(waiting.job)
    waiting.look()
    results: list[T] = []
    for _, result in sorted(waiting.results.items()):
        if isinstance(result, Broken):
            raise HarnessError(result.traceback)
        results.append(cast("T", result))
    return results
