"""One scenario, from its golden run to its verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from outlive_harness.faults import Fault
from outlive_harness.faults.table import FAULTS, STAND_IN
from outlive_harness.golden.cures import Cure
from outlive_harness.golden.nondeterminism import with_reasons
from outlive_harness.golden.record import Record
from outlive_harness.history.baseline import Baseline
from outlive_harness.history.golden_runs import Shared
from outlive_harness.history.ledger import Ledger
from outlive_harness.history.regressions import Regressions
from outlive_harness.history.unfinished import UnfinishedTrials
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import GivenUpError, Job, Waits, results_of, submit
from outlive_harness.results.findings import NotJudged
from outlive_harness.results.options import Options
from outlive_harness.results.plan import Plan, plan_text
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.results.scenario import Scenario
from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import Exhibit, ScenarioResult, Verdict
from outlive_harness.search.choices import faults_of, none_asked_for, profile_of, settings_of
from outlive_harness.search.deeper import search_deeper
from outlive_harness.search.fault_search import FaultSearch, SearchState, begin
from outlive_harness.search.levels import search_levels
from outlive_harness.trial.exec_check import ExecCheck, sample
from outlive_harness.trial.hash_seed_check import HashSeedCheck, has_own_seed

from .budget import Budget
from .conclude import conclude, cut_short
from .confirm import confirm, remember
from .drive import Exploration
from .golden import declare, is_undeclared, recorded
from .merge import Merged, merge, violations_of, warnings_of
from .unjudged import note_unjudged

#: The violations of crash states, by the states' digests: (kind, folded path).
Known = dict[str, frozenset[tuple[str, str]]]
#: Finds the sources of violations: see explain.task.
Explainer = Callable[[Session, Record, ScenarioResult, Options, Known], Waits[None]]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all scenarios of one invocation share.

    Attributes:
        session: the session whose workers do the tasks.
        options: the user's choices.
        budget: shares the time.
        records: the golden runs that exist.
        ledger: the results that are kept; None to keep none.
        explain: finds the sources of violations; None for no explanations.
        baseline: the known violations; None for no baseline.
    """

    session: Session
    options: Options
    budget: Budget
    records: Shared
    ledger: Ledger | None = None
    explain: Explainer | None = None
    baseline: Baseline | None = None


@dataclass(slots=True)
class Case:
    """The exploration of one scenario.

    Attributes:
        around: what all scenarios share.
        scenario: the scenario.
        regressions: its kept failures.
        result: its result so far.
        merged: the violations of its crash states, and the litter.
        unfinished: keeps its trials in case the run is cut short.
        left_out: files that the outputs proposed for its command do not name.
        hash_seeds: the job that runs it with other hash seeds; None if there is none, or it was collected.
    """

    around: Surroundings
    scenario: Scenario
    regressions: Regressions
    result: ScenarioResult = field(init=False)
    merged: Merged = field(default_factory=Merged)
    unfinished: UnfinishedTrials | None = None
    left_out: list[NotJudged] = field(default_factory=list)
    hash_seeds: Job[str] | None = None

    def __post_init__(self) -> None:
        one = self.scenario
        self.result = ScenarioResult(one.name, file=one.file, expected=one.expect)

    def explore(self) -> Exploration:
        """Explore the scenario; return its result."""
        ledger = self.around.ledger
        known = ledger.recall(self.scenario, self.around.options) if ledger is not None else ""
        if isinstance(known, ScenarioResult):
            return known
        self.result.again = known
        begun = time.monotonic()
        try:
            return (yield from self._explored(begun))
        except GivenUpError as error:
            return cut_short(self.result, str(error))
        finally:
            self.result.seconds = time.monotonic() - begun  # even if the run was cut short
            if self.unfinished is not None:
                self.unfinished.close()

    def _explored(self, begun: float) -> Exploration:
        around, scenario, result = self.around, self.scenario, self.result
        options, ledger = around.options, around.ledger
        result.reason = none_asked_for(options, scenario)
        if result.reason:
            result.verdict = Verdict.SKIPPED
            return result
        spec, record = yield from self._recorded()
        basis = ledger.basis(scenario, options, record.reads) if ledger is not None else {}
        if ledger is not None and basis:
            self.unfinished = ledger.unfinished(scenario, basis, record)
        result.warnings += record.warnings
        result.ops = len(record.ops)
        if record.reason:
            result.reason = record.reason
        else:
            yield from self._search(record)
        note_unjudged(result, record, faults_of(options, scenario))
        result.not_judged += self.left_out
        conclude(result, record, scenario, options, around.baseline)
        result.seconds = time.monotonic() - begun
        if ledger is not None:
            ledger.remember(scenario, options, basis, result)
        if self.unfinished is not None:
            self.unfinished.forget()
        around.records.release(spec)
        return result

    def _recorded(self) -> Waits[tuple[RunSpec, Record]]:
        """Return the golden run, and its claim.

        If a command's outputs are not declared and its runs differ, what the golden run proposes is taken;
        also if a run on the result of another only adds to a log.
        """
        around, scenario, taken = self.around, self.scenario, list[Cure]()
        takes = is_undeclared(scenario)
        while True:
            spec = around.records.claim(scenario)
            record = yield from recorded(around.session, spec, around.options)
            around.records.note(scenario, record)
            new = [one for one in record.cures if one not in taken] if takes else []
            if not new:
                break
            around.records.release(spec)
            declare(scenario, new)
            taken += new
        if taken:
            why = f"its runs differ, so what was proposed is judged: {with_reasons(spec, taken)}"
            self.result.warnings.append(why)
            self.left_out = [NotJudged(one.value, one.why) for one in taken if not one.keyword]
        return spec, record

    def _search(self, record: Record) -> Waits[None]:
        """Find the violations, explain them, and keep them as regressions."""
        around, scenario, result = self.around, self.scenario, self.result
        options = around.options
        if options.exhibit:
            result.exhibit = Exhibit([(op.path, op.describe()) for op in record.ops])
        if options.zygote and not scenario.expect and has_own_seed(record):
            self.hash_seeds = submit(
                around.session.root,
                [HashSeedCheck(record.place)],
                priority=Priority.CHECK,
                key=record.place.name,
            )
        yield from self._violations(record)
        if around.explain is not None and self._is_to_be_explained():
            asked = replace(options, torn=settings_of(options, scenario).cuts)
            yield from around.explain(around.session, record, result, asked, self.merged.states)
        remember(self.regressions, record, result)

    def _is_to_be_explained(self) -> bool:
        options = self.around.options
        wanted = options.explain == "all" or (
            options.explain == "auto" and not self.scenario.expect and not options.fail_fast
        )
        return wanted and any(not one.known for one in self.result.violations)

    def _violations(self, record: Record) -> Waits[None]:
        """Find the violations; if runs in a zygote differ from runs by exec, search again by exec alone."""
        result = self.result
        by_exec = not self.around.options.zygote or record.preload is None
        trials = yield from self._by_each_fault(record, by_exec=by_exec)
        why = "" if by_exec else (yield from self._otherwise_by_exec(record, trials))
        if why:
            # A violation that only a zygote shows is our fault, not the pipeline's.
            result.violations, result.faults = [], {}
            self.merged = Merged()
            if result.exhibit is not None:
                result.exhibit.points.clear()
            result.warnings = [*record.warnings, f"no zygote: {why}"]
            yield from self._by_each_fault(record, by_exec=True)

    def _otherwise_by_exec(self, record: Record, trials: list[Trial]) -> Waits[str]:
        """Return how runs in a zygote differ from runs by exec; "" if no difference is known."""
        result = self.result
        if any(one.confirmed is False for one in result.violations):
            return "a violation in it did not show by exec"
        if result.reason or self.scenario.expect or any(not one.known for one in result.violations):
            return ""  # the verdict is not held, or rests on violations that were confirmed by exec
        plans = sample(trials)
        if not plans:
            return ""
        task = ExecCheck(record.place, plans, self.around.options.memory)
        (why,) = yield from results_of(submit(self.around.session.root, [task], priority=Priority.CHECK))
        return why

    def _by_each_fault(self, record: Record, *, by_exec: bool) -> Waits[list[Trial]]:
        """Search by each fault, then confirm each violation by exec; return the trials."""
        around, scenario, result = self.around, self.scenario, self.result
        result.zygote = not by_exec
        result.violations += violations_of(scenario.name, record)
        several: dict[str, SearchState] = {}
        try:
            yield from self._searches(record, several, by_exec=by_exec)
        finally:
            for name, one in several.items():
                result.faults[name] = one.coverage
                self._note_kept(one)
                merge(result, record, name, one, self.merged)
            result.litter = warnings_of(self.merged.littered, record)
            result.warnings += result.litter
        trials = [trial for one in several.values() for trial in one.trials]
        fallen = [trial.fell_back for trial in trials if trial.fell_back]
        if fallen:
            result.warnings.append(f"no zygote in {len(fallen)} trials, exec instead: {min(fallen)}")
        if self.hash_seeds is not None:
            job, self.hash_seeds = self.hash_seeds, None
            (result.reason,) = yield from results_of(job)
        if result.reason:  # a nondeterministic pipeline has no golden outputs to compare with
            result.violations.clear()
        if around.baseline is not None and not scenario.expect:
            around.baseline.mark(result)
        yield from confirm(around.session, scenario, record, result, around.options)
        return trials

    def _searches(self, record: Record, several: dict[str, SearchState], *, by_exec: bool) -> Waits[None]:
        """Search by one fault after the other; add each search to *several* as it begins."""
        around, scenario, result = self.around, self.scenario, self.result
        options = around.options
        for search in self._wanted(record, by_exec=by_exec):
            found = {one.kind for one in result.violations} | _kinds(several.values())
            wanted = frozenset() if options.exhaustive else frozenset(scenario.expect) - found
            first = options.fail_fast and not scenario.expect
            if first and found:
                result.warnings.append(f"stopped at the first violation: {search.name} was not tried")
                continue
            if scenario.expect and not options.exhaustive and not wanted:
                break
            until = around.budget.until(scenario.name)
            one = begin(record, replace(search, until=until, wanted=wanted, first=first), self.unfinished)
            several[search.name] = one
            alike = several.get(search.fault.ends_as)
            yield from search_levels(around.session, record, one, alike=alike)
        until = around.budget.until(scenario.name)
        if until is not None and several and not (scenario.expect or _kinds(several.values())):
            yield from search_deeper(around.session, record, list(several.values()), until)

    def _note_kept(self, one: SearchState) -> None:
        """Note the regressions that could not be tried; drop those that no longer exist."""
        warnings = self.result.warnings
        for trial in one.gone:
            why = trial.trouble or "its crash point is not reached any more"
            warnings.append(self.regressions.drop(trial.plan, why))
        why = f"is not tried: no disk as {one.search.profile} leaves what failed"
        warnings += [f"{plan_text(plan)} {why}" for plan in one.unreachable]

    def _wanted(self, record: Record, *, by_exec: bool) -> Iterator[FaultSearch]:
        """Yield the search of each fault, which begins with the regressions."""
        options, scenario = self.around.options, self.scenario
        kept: list[Plan] = []
        if not record.refused:
            kept, notes = self.regressions.plans(record)
            self.result.warnings += notes
        names = faults_of(options, scenario)
        # If the user chose no faults, regressions of other faults are tried too.
        more = dict.fromkeys(plan[0].fault for plan in kept if plan[0].fault not in names)
        faults = [_usable(name, record)[0] for name in names]
        for name in (*names, *(more if options.faults is None else ())):
            fault, notes = _usable(name, record)
            yield FaultSearch(
                scenario,
                name,
                fault,
                faults if name in names else [fault],
                options,
                settings_of(options, scenario),
                profile_of(options, scenario),
                notes=tuple(notes),
                by_exec=by_exec,
                kept=tuple(plan for plan in kept if plan[0].fault == name),
                kept_alone=name not in names,
            )


def _kinds(several: Iterable[SearchState]) -> set[str]:
    """Return the kinds of violations found so far."""
    return {finding.kind for one in several for trial in one.trials for finding in trial.findings}


def _usable(name: str, record: Record) -> tuple[Fault, list[str]]:
    """Return the fault to use for *name* on this machine, and notes on what its coverage leaves out."""
    fault = FAULTS[name]
    if fault.intercepts and record.refused:
        return STAND_IN, [f"{STAND_IN.name} instead of {name}: {record.refused}"]
    return fault, [fault.leaves_out] if fault.leaves_out else []
