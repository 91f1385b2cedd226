"""From scenarios to verdicts: record, plan, hand out, collect, judge the whole."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from outlive_harness.faults import Fault, every, table
from outlive_harness.plan import Plan, plan_text
from outlive_harness.scenario import Scenario, ScenarioError

from . import board
from .campaign import Campaign, Explored, explored
from .confirm import confirm, once, remember
from .corpus import Regressions, regressions_of
from .deeper import deeper
from .doubt import Doubted, sample
from .golden import Record
from .merge import Littered, merge, violations_of, warnings_of
from .options import Options
from .records import Records, Shared
from .reseed import Reseeded, has_own_seed
from .results import Exhibit, RunResult, ScenarioResult, Trial, Verdict
from .reuse import Ledger
from .session import Session
from .subject import Subject
from .unfinished import Unfinished
from .unjudged import note_unjudged
from .verdict import conclude, none_asked_for
from .waiting import HarnessError, LostError, Waiting, collect, handed_out
from .waves import waves


class Observer(Protocol):
    """Is told what happens, while it happens."""

    def started(self, name: str) -> None:
        """Say that a scenario's golden run begins."""

    def progressed(self, name: str, fault: str, tested: int, points: int) -> None:
        """Say how far a fault is explored."""

    def found(self, name: str, trial: Trial) -> None:
        """Say that a trial violates something; it is still to be confirmed, and made smaller."""

    def finished(self, result: ScenarioResult) -> None:
        """Say that a scenario has its verdict."""


class Silent:
    """An observer that says nothing."""

    def started(self, name: str) -> None:
        """Say nothing."""

    def progressed(self, name: str, fault: str, tested: int, points: int) -> None:
        """Say nothing."""

    def found(self, name: str, trial: Trial) -> None:
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
    records: Records | None = None,
) -> RunResult:
    """Explore scenarios, several at a time, and return their results in the order given.

    With a ledger, results that it knows are taken from it, and new ones put down. With an explainer,
    violations say where they come from, as the options ask for it. With records, golden runs are let go of
    when they are not needed any more; else all who share the session's directory share them, to its end.

    An interrupt ends it early: what was found so far is returned, marked as interrupted.

    Raises:
        ScenarioError: a fault that does not exist, two scenarios of one name, a damaged file of regressions.
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
    cases = [
        _Case(
            session,
            one,
            options,
            budget,
            regressions_of(one, options),
            ScenarioResult(one.name, file=one.file, expected=one.expect),
            records=records or Shared(),
        )
        for one in scenarios
    ]
    waiting = {one.scenario.name: one.explore(ledger, explain) for one in cases}
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
    several = [results.get(one.scenario.name) or _cut_short(one.result, "interrupted") for one in cases]
    return RunResult(several, options.seed, time.monotonic() - begun, interrupted)


def _cut_short(result: ScenarioResult, why: str) -> ScenarioResult:
    result.reason = why
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
                    _tell(observer, name, waiting)
                if not is_over:
                    break
                step(name)
        if active and (len(active) > session.jobs or not pending):
            session.replace_dead()
            session.wait(0.05)


def _tell(observer: Observer, name: str, waiting: Waiting) -> None:
    """Say how far a job has come, and what it shows."""
    observer.progressed(name, waiting.fault, waiting.seen, waiting.count)
    for trial in waiting.news():
        if isinstance(trial, Trial) and trial.findings:
            observer.found(name, trial)


@dataclass(slots=True)
class _Case:
    """One scenario on its way to a verdict."""

    session: Session
    scenario: Scenario
    options: Options
    budget: _Budget
    regressions: Regressions
    result: ScenarioResult
    states: Known = field(default_factory=dict)
    littered: Littered = field(default_factory=list)
    unfinished: Unfinished | None = None
    again: Path | None = None
    records: Shared = field(default_factory=Shared)

    def explore(self, ledger: Ledger | None, explain: Explainer | None) -> Exploration:
        scenario, options = self.scenario, self.options
        known = ledger.recall(scenario, options) if ledger is not None else ""
        if isinstance(known, ScenarioResult):
            return known
        self.result.again = known
        begun = time.monotonic()
        try:
            return (yield from self._explored(ledger, explain, begun))
        except LostError as error:
            return _cut_short(self.result, str(error))
        finally:
            self.result.seconds = time.monotonic() - begun  # of a run that was cut short, too
            if self.unfinished is not None:
                self.unfinished.close()

    def _explored(self, ledger: Ledger | None, explain: Explainer | None, begun: float) -> Exploration:
        scenario, options, result = self.scenario, self.options, self.result
        result.reason = none_asked_for(scenario, options)
        if result.reason:
            result.verdict = Verdict.SKIPPED
            return result
        subject = self.records.claim(scenario)
        record = yield from _recorded(self.session, subject, options)
        self.records.note(scenario, record)
        came_of = ledger.came_of(scenario, options, record.reads) if ledger is not None else {}
        if ledger is not None and came_of:
            self.unfinished = ledger.unfinished(scenario, came_of, record)
        result.warnings += record.warnings
        result.ops = len(record.ops)
        if record.reason:
            result.reason = record.reason
        else:
            if options.exhibit:
                result.exhibit = Exhibit([(op.path, op.describe()) for op in record.ops])
            if self.options.zygote and not scenario.expect and has_own_seed(record):
                name = f"g-{record.place.name}"
                self.again = board.post(self.session.root, name, board.AGAIN, [Reseeded(record.place)])
            yield from self._violations(record)
            if explain is not None and self._is_to_be_explained():
                asked = replace(options, torn=options.cuts_of(scenario))
                yield from explain(self.session, record, result, asked, self.states)
            remember(self.regressions, record, result)
        note_unjudged(result, record, options.faults_of(scenario))
        conclude(result, record, scenario, options)
        result.seconds = time.monotonic() - begun
        if ledger is not None:
            ledger.remember(scenario, options, came_of, result)
        if self.unfinished is not None:
            self.unfinished.forget()
        self.records.release(subject)
        return result

    def _is_to_be_explained(self) -> bool:
        wanted = self.options.explain == "all" or (
            self.options.explain == "auto" and not self.scenario.expect and not self.options.fail_fast
        )
        return wanted and any(not one.known for one in self.result.violations)

    def _violations(self, record: Record) -> Generator[Waiting, None, None]:
        result = self.result
        by_exec = not self.options.zygote or record.preload is None
        trials = yield from self._struck(record, by_exec=by_exec)
        why = "" if by_exec else (yield from self._otherwise_by_exec(record, trials))
        if why:
            # What a warm interpreter shows and a fresh one does not is ours, not the pipeline's.
            result.violations, result.faults = [], {}
            self.states.clear()
            self.littered.clear()
            if result.exhibit is not None:
                result.exhibit.points.clear()
            result.warnings = [*record.warnings, f"no zygote: {why}"]
            yield from self._struck(record, by_exec=True)

    def _otherwise_by_exec(self, record: Record, trials: list[Trial]) -> Generator[Waiting, None, str]:
        """Say what came out otherwise in a zygote than by exec; "" if nothing is known to."""
        result = self.result
        if any(one.confirmed is False for one in result.violations):
            return "a violation that was seen in it was not by exec"
        if result.reason or self.scenario.expect or any(not one.known for one in result.violations):
            return ""  # it is not called held, or what it is known for was seen by exec
        plans = sample(trials)
        if not plans:
            return ""
        work = Doubted(record.place, plans, self.options.memory)
        return (yield from handed_out(self.session, f"d-{record.place.name}", work, str)) or ""

    def _struck(self, record: Record, *, by_exec: bool) -> Generator[Waiting, None, list[Trial]]:
        """Strike with each fault; then carry out each violation once more, in a fresh process.

        Return what was done.
        """
        session, scenario, options, result = self.session, self.scenario, self.options, self.result
        result.zygote = not by_exec
        result.violations += violations_of(scenario.name, record)
        several: dict[str, Explored] = {}
        try:
            for campaign in self._campaigns(record, by_exec=by_exec):
                found = {one.kind for one in result.violations} | _kinds(several.values())
                wanted = frozenset() if options.exhaustive else frozenset(scenario.expect) - found
                first = options.fail_fast and not scenario.expect
                if first and found:
                    result.warnings.append(f"stopped at the first violation: {campaign.name} has not struck")
                    continue
                if scenario.expect and not options.exhaustive and not wanted:
                    break
                until = self.budget.until(scenario.name)
                this = replace(campaign, until=until, wanted=wanted, first=first)
                one = explored(record, this, self.unfinished)
                several[campaign.name] = one
                yield from waves(session, record, one, killed=several.get("kill"))
            until = self.budget.until(scenario.name)
            if until is not None and several and not (scenario.expect or _kinds(several.values())):
                yield from deeper(session, record, list(several.values()), until)
        finally:
            for name, one in several.items():
                result.faults[name] = one.coverage
                self._tell_of_kept(one)
                intercepts = one.campaign.fault.intercepts
                merge(
                    result,
                    record,
                    name,
                    one.coverage,
                    one.trials,
                    exhaustive=intercepts,
                    known=self.states,
                    littered=self.littered,
                )
            result.warnings += warnings_of(self.littered, record)
        trials = [trial for one in several.values() for trial in one.trials]
        fallen = [trial.fell_back for trial in trials if trial.fell_back]
        if fallen:
            result.warnings.append(f"no zygote in {len(fallen)} trials, exec instead: {min(fallen)}")
        if self.again is not None:
            waiting, self.again = Waiting(self.again, 1), None
            yield waiting
            (result.reason,) = collect(waiting, str, shared=True)
        if result.reason:  # what it leaves is compared with something else each time
            result.violations.clear()
        if options.baseline is not None and not scenario.expect:
            options.baseline.mark(result)
        yield from confirm(session, scenario, record, result, options)
        return trials

    def _tell_of_kept(self, one: Explored) -> None:
        """Say which failures that were kept could not be struck, and let go of those that cannot be again."""
        warnings = self.result.warnings
        for trial in one.gone:
            warnings.append(
                self.regressions.drop(trial.plan, trial.trouble or "its op is not reached any more")
            )
        why = f"is not struck: no disk as {one.campaign.profile} leaves what failed"
        warnings += [f"{plan_text(plan)} {why}" for plan in one.elsewhere]

    def _campaigns(self, record: Record, *, by_exec: bool) -> Iterator[Campaign]:
        """Yield what is to be done with each fault, with what failed once as its beginning."""
        options = self.options
        kept: list[Plan] = []
        if not record.refused:
            kept, notes = self.regressions.plans(record)
            self.result.warnings += notes
        names = options.faults_of(self.scenario)
        # Where nobody chose the faults, what failed once by another one is struck with that, too.
        more = dict.fromkeys(plan[0].fault for plan in kept if plan[0].fault not in names)
        faults = [_usable(name, record)[0] for name in names]
        for name in (*names, *(more if options.faults is None else ())):
            fault, label = _usable(name, record)
            yield Campaign(
                self.scenario,
                name,
                fault,
                faults if name in names else [fault],
                options,
                label=label,
                by_exec=by_exec,
                kept=tuple(plan for plan in kept if plan[0].fault == name),
                kept_alone=name not in names,
            )


def _kinds(several: Iterable[Explored]) -> set[str]:
    """Return what was found so far."""
    return {finding.kind for one in several for trial in one.trials for finding in trial.findings}


def _recorded(session: Session, subject: Subject, options: Options) -> Generator[Waiting, None, Record]:
    name = subject.key() + ("" if options.zygote else "-x")
    wanted = subject, session.root / "records" / name, options.zygote, options.memory
    job = board.post(session.root, f"r-{name}", board.RECORD, [wanted])
    waiting = Waiting(job, 1)
    yield waiting
    return collect(waiting, Record, shared=True)[0]  # whoever comes later finds the result all the same


def _usable(name: str, record: Record) -> tuple[Fault, str]:
    """Return the fault that stands in for *name* on this machine, and how its coverage is labelled."""
    fault = every()[name]
    if fault.intercepts and record.refused:
        return table()["timer"], f"timer instead of {name}: {record.refused}"
    return fault, "" if fault.intercepts else "random moments, never exhaustive"


def replay(
    session: Session,
    scenario: Scenario,
    plan: Plan | None,
    *,
    keep: Path | None = None,
    adjust: Callable[[Record, Plan], Plan] | None = None,
    records: Records | None = None,
) -> tuple[Record, Trial | None]:
    """Carry out one plan, keeping the boxes if asked to; no trial if there is no golden run to compare with.

    The outputs are judged after each of its crashes: an exploration judges each of them by itself.

    Without a plan only the golden run is recorded. *adjust* may give another plan in its place once that is
    there. *records* says which golden runs there are already.

    Raises:
        ScenarioError: the plan sends a signal that is none.
        HarnessError: a fault of ours.
    """
    for point in plan or ():
        if point.fault == "term" and point.part and point.part not in signal.valid_signals():
            raise ScenarioError(f"plan={plan_text(plan or ())!r}: {point.part} is no signal")
    golden = records or Shared()
    results: dict[str, ScenarioResult] = {}
    said: list[tuple[Record, Trial | None]] = []

    def one() -> Exploration:
        subject = golden.claim(scenario)
        record = yield from _recorded(session, subject, Options())
        golden.note(scenario, record)
        trial = None
        if plan is not None and not record.reason:
            plan_now = adjust(record, plan) if adjust else plan
            trial = yield from once(session, record, plan_now, keep, each=True)
        said.append((record, trial))
        golden.release(subject)
        return ScenarioResult(scenario.name)

    _advance(session, {scenario.name: one()}, results, Silent())
    return said[0]
