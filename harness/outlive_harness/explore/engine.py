"""From scenarios to verdicts: record, plan, hand out, collect, judge the whole."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from outlive_harness import __version__
from outlive_harness.faults import Fault, table
from outlive_harness.plan import Plan, Point, parse_plan, plan_text
from outlive_harness.scenario import Scenario, ScenarioError
from outlive_harness.store import Store, write_down

from . import board
from .golden import Record
from .merge import merge, violations_of
from .results import (
    Coverage,
    RunResult,
    ScenarioResult,
    Trial,
    Verdict,
)
from .session import Session
from .subject import Subject, from_scenario
from .trial import Order
from .worker import Broken

DEFAULT_FAULTS = ("kill",)
#: Violations of one scenario whose boxes are kept.
_KEPT = 3


class HarnessError(RuntimeError):
    """A fault of ours, with its traceback."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the doors let a user choose.

    Attributes:
        faults: the faults to strike with; None leaves it to each scenario, else ``kill``.
        depth: crashes in a row.
        points: how many crash points of each fault to sample; None for all.
        budget: seconds after which no further trial is begun; None for no limit.
        seed: decides every sample.
        store: where failures are kept.
    """

    faults: tuple[str, ...] | None = None
    depth: int = 1
    points: int | None = None
    budget: float | None = None
    seed: int = 0
    store: Path = Path(".outlive")

    def faults_of(self, scenario: Scenario) -> tuple[str, ...]:
        """Return the faults that a scenario is put through: those asked for that make sense for it.

        Raises:
            ScenarioError: there is no fault of such a name.
        """
        known = table()
        for name in (*(self.faults or ()), *(scenario.faults or ())):
            if name not in known:
                raise ScenarioError(f"unknown fault {name!r}; there are: {', '.join(known)}")
        if self.faults is None:
            return scenario.faults or DEFAULT_FAULTS
        return tuple(name for name in self.faults if scenario.faults is None or name in scenario.faults)


class Observer(Protocol):
    """Is told what happens, while it happens."""

    def started(self, name: str) -> None:
        """Say that a scenario's golden run begins."""

    def progressed(self, name: str, fault: str, tested: int, points: int) -> None:
        """Say how far a fault is explored."""

    def finished(self, result: ScenarioResult) -> None:
        """Say that a scenario has its verdict."""


class Silent:
    """An observer that says nothing."""

    def started(self, name: str) -> None:
        """Say nothing."""

    def progressed(self, name: str, fault: str, tested: int, points: int) -> None:
        """Say nothing."""

    def finished(self, result: ScenarioResult) -> None:
        """Say nothing."""


@dataclass(slots=True)
class _Waiting:
    """A job that an exploration waits for."""

    job: Path
    count: int
    fault: str = ""
    until: float | None = None
    seen: int = 0
    next_look: float = 0.0

    def is_over(self) -> bool:
        """Tell whether all that will be done of it is done; note how much is."""
        now = time.monotonic()
        if now < self.next_look:
            return False
        # Listing thousands of results for each that arrives would cost more than the trials.
        self.next_look = now + self.count * 1e-4
        finished = board.done(self.job)
        self.seen = len(finished)
        if self.seen == self.count:
            return True
        if self.until is None or time.time() < self.until + 0.2:
            return False
        claimed = sum(1 for path in (self.job / "claims").iterdir() if path.name.isdigit())
        return claimed == self.seen


Exploration = Generator[_Waiting, None, ScenarioResult]


@dataclass(slots=True)
class _Budget:
    """Shares what time is left among the scenarios that are still to be explored."""

    end: float | None
    left: int
    begun: set[str] = field(default_factory=set)

    def until(self, name: str) -> float | None:
        """Return the moment until which this scenario's trials may begin."""
        if self.end is None:
            return None
        now = time.time()
        share = max(0.0, self.end - now) / max(1, self.left - len(self.begun - {name}))
        self.begun.add(name)
        return now + share


def explore(
    session: Session, scenarios: Sequence[Scenario], options: Options, observer: Observer | None = None
) -> RunResult:
    """Explore scenarios, several at a time, and return their results in the order given.

    An interrupt ends it early: what was found so far is returned, marked as interrupted.

    Raises:
        ScenarioError: a fault that does not exist, two scenarios of one name.
        HarnessError: a fault of ours.
    """
    observer = observer or Silent()
    begun = time.monotonic()
    _check_names(scenarios)
    for scenario in scenarios:
        options.faults_of(scenario)
    end = None if options.budget is None else time.time() + options.budget
    budget = _Budget(end, len(scenarios))
    results: dict[str, ScenarioResult] = {}
    partial: dict[str, ScenarioResult] = {}
    waiting = {scenario.name: _explore(session, scenario, options, budget, partial) for scenario in scenarios}
    interrupted = False
    try:
        _advance(session, waiting, results, observer)
    except KeyboardInterrupt as stop:
        interrupted = True
        for exploration in waiting.values():
            with contextlib.suppress(KeyboardInterrupt, StopIteration):
                exploration.throw(stop)  # each merges what it has
    several = [
        results.get(one.name) or _cut_short(partial.get(one.name) or ScenarioResult(one.name))
        for one in scenarios
    ]
    return RunResult(several, options.seed, time.monotonic() - begun, interrupted)


def _cut_short(result: ScenarioResult) -> ScenarioResult:
    result.reason = "interrupted"
    result.verdict = Verdict.VIOLATED if result.violations and not result.expected else Verdict.UNKNOWN
    return result


def _check_names(scenarios: Iterable[Scenario]) -> None:
    seen: dict[str, Scenario] = {}
    for scenario in scenarios:
        other = seen.setdefault(scenario.name, scenario)
        if other is not scenario:
            raise ScenarioError(
                f"two scenarios are named {scenario.name!r}: {other.file}:{other.line} and "
                f"{scenario.file}:{scenario.line}; give one of them another name"
            )


def _advance(
    session: Session,
    explorations: dict[str, Exploration],
    results: dict[str, ScenarioResult],
    observer: Observer,
) -> None:
    """Drive the explorations, as many at a time as keep the workers busy."""
    pending = list(explorations)
    active: dict[str, _Waiting] = {}

    def step(name: str) -> None:
        try:
            active[name] = next(explorations[name])
            session.wake()
        except StopIteration as end:
            active.pop(name, None)
            results[name] = end.value
            observer.finished(end.value)

    while pending or active:
        while pending and len(active) <= session.jobs:
            name = pending.pop(0)
            observer.started(name)
            step(name)
        for name in list(active):
            while name in active:
                waiting, before = active[name], active[name].seen
                is_over = waiting.is_over()
                if waiting.fault and waiting.seen != before:
                    observer.progressed(name, waiting.fault, waiting.seen, waiting.count)
                if not is_over:
                    break
                step(name)
        if active and (len(active) > session.jobs or not pending):
            session.replace_dead()
            session.wait(0.05)


def _collect(job: Path, waiting: _Waiting) -> list[Trial]:
    board.close(job)
    trials = []
    for number in sorted(board.done(job)):
        result = board.load(job / "results" / str(number))
        if isinstance(result, Broken):
            raise HarnessError(result.traceback)
        trials.append(result)
    waiting.seen = len(trials)
    return trials


def _explore(
    session: Session,
    scenario: Scenario,
    options: Options,
    budget: _Budget,
    partial: dict[str, ScenarioResult],
) -> Exploration:
    begun = time.monotonic()
    result = ScenarioResult(scenario.name, file=scenario.file, expected=scenario.expect)
    partial[scenario.name] = result
    subject = from_scenario(scenario)
    record = yield from _recorded(session, subject)
    result.warnings += record.warnings
    result.ops = len(record.ops)
    if record.reason:
        result.reason = record.reason
    else:
        result.violations += violations_of(scenario.name, record)
        for name in options.faults_of(scenario):
            trials: list[Trial] = []
            fault, label = _usable(name, record)
            result.faults[name] = coverage = Coverage(label=label)
            try:
                yield from _waves(session, scenario, record, fault, options, budget, coverage, trials)
            finally:
                merge(result, record, name, coverage, trials, exhaustive=fault.intercepts)
        if not scenario.expect:
            yield from _keep(session, scenario, record, result, options)
    _conclude(result, record, scenario)
    result.seconds = time.monotonic() - begun
    return result


def _recorded(session: Session, subject: Subject) -> Generator[_Waiting, None, Record]:
    place = session.root / "records" / subject.key()
    job = board.post(session.root, f"r-{subject.key()}", "record", [(subject, place)])
    waiting = _Waiting(job, 1)
    yield waiting
    made = board.load(job / "results" / "0")
    if isinstance(made, Broken):
        raise HarnessError(made.traceback)
    assert isinstance(made, Record)
    return made


def _usable(name: str, record: Record) -> tuple[Fault, str]:
    """Return the fault that stands in for *name* on this machine, and how its coverage is labelled."""
    fault = table()[name]
    if fault.intercepts and record.refused:
        return table()["timer"], f"timer instead of {name}: {record.refused}"
    return fault, "" if fault.intercepts else "random moments, never exhaustive"


def _waves(
    session: Session,
    scenario: Scenario,
    record: Record,
    fault: Fault,
    options: Options,
    budget: _Budget,
    coverage: Coverage,
    trials: list[Trial],
) -> Generator[_Waiting, None, None]:
    """Explore one fault: first single crashes, then crashes in the recoveries of distinct states."""
    depth = max(options.depth, scenario.depth)
    until = budget.until(scenario.name)
    states = record.place / f"states-{fault.name}"
    states.mkdir(exist_ok=True)
    plans: list[tuple[Plan, Path | None]]
    for level in range(1, depth + 1):
        choose = random.Random(f"{options.seed}:{scenario.name}:{fault.name}:{level}")
        if level == 1:
            points = fault.points(
                ops=len(record.ops), seconds=record.seconds, count=options.points, random=choose
            )
            plans = [((point,), None) for point in points]
            if options.points is not None and len(points) < len(record.ops) and fault.intercepts:
                coverage.label = f"sampled {len(points)} of {len(record.ops)} points, seed {options.seed}"
        else:
            plans = _deeper(record, fault, trials, states, level, options, choose)
        if not plans:
            break
        coverage.points += len(plans)
        if until is not None:  # what is cut off must not always be the same end
            choose.shuffle(plans)
        orders = [
            Order(record.place, plan, states, start, keep_states=level < depth) for plan, start in plans
        ]
        job = board.post(
            session.root, f"t-{record.place.name}-{fault.name}-{level}", "trial", orders, until=until
        )
        waiting = _Waiting(job, len(orders), fault.name, until)
        try:
            yield waiting
        finally:
            trials += _collect(job, waiting)


def _deeper(
    record: Record,
    fault: Fault,
    trials: list[Trial],
    states: Path,
    level: int,
    options: Options,
    choose: random.Random,
) -> list[tuple[Plan, Path | None]]:
    """Plan one crash more: in the recovery of each distinct state that the level before reached."""
    plans: list[tuple[Plan, Path | None]] = []
    for trial in trials:
        if len(trial.plan) == level - 1 and trial.judged and (trial.recovery_ops or not fault.intercepts):
            points = fault.points(ops=trial.recovery_ops, seconds=record.seconds, count=None, random=choose)
            start = states / f"{trial.state}.tree"
            plans += [((*trial.plan, point), start) for point in points]
    if options.points is not None and len(plans) > options.points:
        plans = [plans[i] for i in sorted(choose.sample(range(len(plans)), options.points))]
    return plans


def _keep(
    session: Session, scenario: Scenario, record: Record, result: ScenarioResult, options: Options
) -> Generator[_Waiting, None, None]:
    """Carry out each violation's plan once more, to confirm it and to keep its boxes for a person."""
    store = Store(options.store.absolute())
    for violation in result.violations[:_KEPT]:
        if not violation.point:
            continue
        facts = {"version": __version__, "kind": violation.kind, "message": violation.message}
        place = store.keep(violation.replay, {**facts, "scenario": write_down(scenario)})
        trial = yield from _once(session, record, parse_plan(violation.point), place)
        violation.confirmed = any(found.kind == violation.kind for found in trial.findings)
        violation.kept = str(place)


def _once(
    session: Session, record: Record, plan: Sequence[Point], keep: Path | None
) -> Generator[_Waiting, None, Trial]:
    order = Order(record.place, tuple(plan), keep=keep)
    name = f"u-{record.place.name}-{plan_text(order.plan)}-{time.time_ns()}"
    job = board.post(session.root, name, "trial", [order])
    waiting = _Waiting(job, 1)
    yield waiting
    return _collect(job, waiting)[0]


def _conclude(result: ScenarioResult, record: Record, scenario: Scenario) -> None:
    """Give the verdict: what was not tested is unknown, never held."""
    gaps = _gaps(result, record)
    found = {violation.kind for violation in result.violations}
    if scenario.expect:
        missing = [kind for kind in scenario.expect if kind not in found]
        if not missing:
            result.verdict = Verdict.HELD
            result.reason = f"known bad, and caught: {', '.join(scenario.expect)}"
        elif gaps:
            result.verdict, result.reason = Verdict.UNKNOWN, gaps
        else:
            result.verdict = Verdict.VIOLATED
            result.reason = f"expected {', '.join(missing)}, but no such violation was found"
    elif found:
        result.verdict = Verdict.VIOLATED
        result.reason = result.violations[0].message
    elif gaps:
        result.verdict, result.reason = Verdict.UNKNOWN, gaps
    else:
        result.verdict = Verdict.HELD
        result.reason = "; ".join(c.label for c in result.faults.values() if c.label)


def _gaps(result: ScenarioResult, record: Record) -> str:
    if result.reason:
        return result.reason
    if not result.faults:
        return "none of the faults asked for makes sense for this scenario"
    for name, coverage in result.faults.items():
        if coverage.points == 0 and len(record.ops) == 0 and not record.refused:
            return "the pipeline changes no file of its box: there is no point to strike at"
        if coverage.tested < coverage.points:
            return coverage.label or f"{name}: {coverage.tested} of {coverage.points} points tested"
    if record.refused and any(table()[name].intercepts for name in result.faults):
        tested = sum(coverage.tested for coverage in result.faults.values())
        return f"{record.refused}; only {tested} random moments were tried instead, and none violated"
    return ""


def replay(session: Session, scenario: Scenario, plan: Plan, *, keep: Path) -> tuple[Record, Trial | None]:
    """Carry out one plan, keeping the boxes; the trial is None if there is no golden run to compare.

    Raises:
        HarnessError: a fault of ours.
    """
    results: dict[str, ScenarioResult] = {}
    said: list[tuple[Record, Trial | None]] = []

    def one() -> Exploration:
        record = yield from _recorded(session, from_scenario(scenario))
        trial = None
        if not record.reason:
            trial = yield from _once(session, record, plan, keep)
        said.append((record, trial))
        return ScenarioResult(scenario.name)

    _advance(session, {scenario.name: one()}, results, Silent())
    return said[0]
