"""From scenarios to verdicts: record, plan, hand out, collect, judge the whole."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from outlive_harness import __version__
from outlive_harness.faults import Fault, every, table
from outlive_harness.plan import Plan, Point, digest, parse_plan
from outlive_harness.scenario import Scenario, ScenarioError
from outlive_harness.store import Store, write_down

from . import board
from .golden import Record
from .merge import merge, violations_of
from .options import Options
from .rebase import marks
from .results import Broken, Coverage, Exhibit, RunResult, ScenarioResult, Trial, Verdict, Violation
from .reuse import Ledger
from .session import Session
from .shrink import shrunk
from .subject import Subject, from_scenario
from .tapes import MEMORY
from .trial import Order
from .waves import Campaign, HarnessError, Waiting, collect, waves

#: Violations of one scenario whose boxes are kept.
_KEPT = 3


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


Exploration = Generator[Waiting, None, ScenarioResult]
#: What states violate, by their digests: (kind, folded path).
Known = dict[str, frozenset[tuple[str, str]]]
#: Says of violations where they come from: see explain.task.
Explainer = Callable[[Session, Record, ScenarioResult, Options, Known], Generator[Waiting, None, None]]


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
    session: Session,
    scenarios: Sequence[Scenario],
    options: Options,
    observer: Observer | None = None,
    *,
    ledger: Ledger | None = None,
    explain: Explainer | None = None,
) -> RunResult:
    """Explore scenarios, several at a time, and return their results in the order given.

    With a ledger, results that it knows are taken from it, and new ones put down. With an explainer,
    violations say where they come from, as the options ask for it.

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
        options.profile_of(scenario)
    end = None if options.budget is None else time.time() + options.budget
    budget = _Budget(end, len(scenarios))
    results: dict[str, ScenarioResult] = {}
    partial: dict[str, ScenarioResult] = {}
    waiting = {
        scenario.name: _explore(session, scenario, options, budget, partial, ledger, explain)
        for scenario in scenarios
    }
    interrupted = False
    try:
        _advance(session, waiting, results, observer)
    except KeyboardInterrupt as stop:
        interrupted = True
        for exploration in waiting.values():
            with contextlib.suppress(KeyboardInterrupt, StopIteration):
                exploration.throw(stop)  # each merges what it has
    finally:
        for exploration in waiting.values():  # while the board is there that they take their jobs from
            with contextlib.suppress(HarnessError):
                exploration.close()
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
    active: dict[str, Waiting] = {}

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


def _explore(
    session: Session,
    scenario: Scenario,
    options: Options,
    budget: _Budget,
    partial: dict[str, ScenarioResult],
    ledger: Ledger | None = None,
    explain: Explainer | None = None,
) -> Exploration:
    begun = time.monotonic()
    known = ledger.recall(scenario, options) if ledger is not None else None
    if known is not None:
        return known
    result = ScenarioResult(scenario.name, file=scenario.file, expected=scenario.expect)
    partial[scenario.name] = result
    subject = from_scenario(scenario)
    record = yield from _recorded(session, subject, zygote=options.zygote)
    came_of = ledger.came_of(scenario, options, record.reads) if ledger is not None else {}
    result.warnings += record.warnings
    result.ops = len(record.ops)
    if record.reason:
        result.reason = record.reason
    else:
        if options.exhibit:
            result.exhibit = Exhibit([(op.path, op.describe()) for op in record.ops])
        by_exec = not options.zygote or record.preload is None
        states: Known = {}
        yield from _struck(session, scenario, record, result, options, budget, states, by_exec=by_exec)
        if not by_exec and any(one.confirmed is False for one in result.violations):
            # What a warm interpreter shows and a fresh one does not is ours, not the pipeline's.
            result.violations, result.faults = [], {}
            states.clear()
            if result.exhibit is not None:
                result.exhibit.points.clear()
            result.warnings = [*record.warnings, "no zygote: a violation that was seen in it was not by exec"]
            yield from _struck(session, scenario, record, result, options, budget, states, by_exec=True)
        wanted = options.explain == "all" or (options.explain == "auto" and not scenario.expect)
        if explain is not None and result.violations and wanted:
            yield from explain(session, record, result, options, states)
    _conclude(result, record, scenario)
    result.seconds = time.monotonic() - begun
    if ledger is not None:
        ledger.remember(scenario.name, came_of, result)
    return result


def _struck(
    session: Session,
    scenario: Scenario,
    record: Record,
    result: ScenarioResult,
    options: Options,
    budget: _Budget,
    states: Known,
    *,
    by_exec: bool,
) -> Generator[Waiting, None, None]:
    """Strike with each fault; then carry out each violation once more, in a fresh process."""
    result.zygote = not by_exec
    result.violations += violations_of(scenario.name, record)
    faults = [_usable(name, record)[0] for name in options.faults_of(scenario)]
    for name in options.faults_of(scenario):
        found = {violation.kind for violation in result.violations}
        wanted = frozenset() if options.exhaustive else frozenset(scenario.expect) - found
        if scenario.expect and not options.exhaustive and not wanted:
            break
        trials: list[Trial] = []
        fault, label = _usable(name, record)
        profile = options.profile_of(scenario) if name == "power" else ""
        result.faults[name] = coverage = Coverage(label=label, profile=profile)
        plan = Campaign(scenario, fault, faults, options, budget.until(scenario.name), by_exec, wanted)
        try:
            yield from waves(session, record, coverage, trials, plan)
        finally:
            merge(result, record, name, coverage, trials, exhaustive=fault.intercepts, known=states)
    yield from _confirm(session, scenario, record, result, options)


def _recorded(session: Session, subject: Subject, *, zygote: bool = True) -> Generator[Waiting, None, Record]:
    name = subject.key() + ("" if zygote else "-x")
    job = board.post(
        session.root, f"r-{name}", board.RECORD, [(subject, session.root / "records" / name, zygote)]
    )
    waiting = Waiting(job, 1)
    yield waiting
    board.close(job)  # whoever comes later finds the result all the same
    made = board.load(job / "results" / "0")
    if isinstance(made, Broken):
        raise HarnessError(made.traceback)
    assert isinstance(made, Record)
    return made


def _usable(name: str, record: Record) -> tuple[Fault, str]:
    """Return the fault that stands in for *name* on this machine, and how its coverage is labelled."""
    fault = every()[name]
    if fault.intercepts and record.refused:
        return table()["timer"], f"timer instead of {name}: {record.refused}"
    return fault, "" if fault.intercepts else "random moments, never exhaustive"


def _confirm(
    session: Session, scenario: Scenario, record: Record, result: ScenarioResult, options: Options
) -> Generator[Waiting, None, None]:
    """Carry out each violation's plan once more, by exec; keep the boxes of the first for a person."""
    store = Store(options.store.absolute())
    for number, found in enumerate(result.violations):
        if not found.point:
            continue
        violation, place = found, None
        if number < _KEPT and not scenario.expect:
            violation = result.violations[number] = yield from shrunk(session, record, found, options)
            place = _place(store, scenario, record, violation, result)
        trial = yield from _once(session, record, parse_plan(violation.point), place, options.memory)
        violation.confirmed = any(one.kind == violation.kind for one in trial.findings)
        violation.kept = str(place) if place is not None else ""


def _place(
    store: Store, scenario: Scenario, record: Record, violation: Violation, result: ScenarioResult
) -> Path | None:
    """Return where a violation's boxes are kept; None, and a warning, if they cannot be."""
    known = marks(record, parse_plan(violation.point))
    facts = {"version": __version__, "kind": violation.kind, "message": violation.message, "marks": known}
    try:
        return store.keep(violation.replay, {**facts, "scenario": write_down(scenario)})
    except OSError as error:
        warning = f"failures cannot be kept in {store.root}: {error.strerror or error}"
        result.warnings += [warning] if warning not in result.warnings else []
        return None


def _once(
    session: Session, record: Record, plan: Sequence[Point], keep: Path | None, memory: int = MEMORY
) -> Generator[Waiting, None, Trial]:
    order = Order(record.place, tuple(plan), keep=keep, memory=memory, by_exec=True)
    name = f"u-{record.place.name}-{digest(order.plan)}-{time.time_ns()}"
    job = board.post(session.root, name, "trial", [order])
    waiting = Waiting(job, 1)
    yield waiting
    return collect(job, waiting, Trial)[0]


def _conclude(result: ScenarioResult, record: Record, scenario: Scenario) -> None:
    """Give the verdict: what was not tested is unknown, never held."""
    gaps = _gaps(result, record)
    label = "; ".join(coverage.label for coverage in result.faults.values() if coverage.label)
    found = {violation.kind for violation in result.violations}
    if scenario.expect:
        missing = [kind for kind in scenario.expect if kind not in found]
        if not missing:
            result.verdict = Verdict.HELD
            result.reason = f"known bad, and caught: {', '.join(scenario.expect)}"
        elif gaps or label:  # a sample or random moments may have missed it
            result.verdict, result.reason = Verdict.UNKNOWN, gaps or f"{label}: no {', '.join(missing)} found"
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
        result.reason = label


def _gaps(result: ScenarioResult, record: Record) -> str:
    if result.reason:
        return result.reason
    if not result.faults:
        return "none of the faults asked for makes sense for this scenario"
    gaps = (_gap(name, coverage, record) for name, coverage in result.faults.items())
    first = next(filter(None, gaps), "")
    if first:
        return first
    tested = sum(coverage.tested for coverage in result.faults.values())
    if record.refused and any(every()[name].intercepts for name in result.faults):
        return f"{record.refused}; only {tested} random moments were tried instead, and none violated"
    return "" if tested else "none of the faults asked for came to a point of this run: nothing was tested"


def _gap(name: str, coverage: Coverage, record: Record) -> str:
    if coverage.points == 0 and len(record.ops) == 0 and not record.refused:
        return "the pipeline changes no file of its box: there is no point to strike at"
    if coverage.reason:
        return f"{name}: {coverage.reason}"
    if coverage.tested < coverage.chosen:
        return coverage.label or f"{name}: {coverage.tested} of {coverage.points} points tested"
    return ""


def replay(
    session: Session,
    scenario: Scenario,
    plan: Plan | None,
    *,
    keep: Path | None = None,
    adjust: Callable[[Record, Plan], Plan] | None = None,
) -> tuple[Record, Trial | None]:
    """Carry out one plan, keeping the boxes if asked to; no trial if there is no golden run to compare with.

    Without a plan only the golden run is recorded. *adjust* may give another plan in its place once that is
    there.

    Raises:
        HarnessError: a fault of ours.
    """
    results: dict[str, ScenarioResult] = {}
    said: list[tuple[Record, Trial | None]] = []

    def one() -> Exploration:
        record = yield from _recorded(session, from_scenario(scenario))
        trial = None
        if plan is not None and not record.reason:
            trial = yield from _once(session, record, adjust(record, plan) if adjust else plan, keep)
        said.append((record, trial))
        return ScenarioResult(scenario.name)

    _advance(session, {scenario.name: one()}, results, Silent())
    return said[0]
