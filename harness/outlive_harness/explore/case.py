"""One scenario, from its golden run to its verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import psutil

from outlive_harness.golden.advice.cures import Cure
from outlive_harness.golden.advice.nondeterminism import with_reasons
from outlive_harness.golden.advice.tool_state import tool_state
from outlive_harness.golden.record import Record
from outlive_harness.history.baseline import Baseline
from outlive_harness.history.golden_runs import Shared
from outlive_harness.history.ledger import Ledger
from outlive_harness.history.regressions import Regressions
from outlive_harness.history.unfinished import UnfinishedTrials
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session, processors
from outlive_harness.jobs.tasks import GivenUpError, Job, Waits, results_of, submit
from outlive_harness.results.findings import NotJudged
from outlive_harness.results.options import Options
from outlive_harness.results.plan import Plan, plan_text
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.results.scenario import Scenario
from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import Exhibit, ScenarioResult, Verdict
from outlive_harness.search.choices import faults_of, none_asked_for, profile_of, settings_of, usable
from outlive_harness.search.deeper import search_deeper
from outlive_harness.search.fault_search import FaultSearch, SearchState, begin
from outlive_harness.search.forecast import Forecast
from outlive_harness.search.levels import search_levels
from outlive_harness.trial.exec_check import ExecCheck, sample
from outlive_harness.trial.golden_task import FirstRun
from outlive_harness.trial.hash_seed_check import HashSeedCheck, has_own_seed
from outlive_harness.trial.later_run import LaterRun

from .budget import Budget, kept_back
from .conclude import conclude, cut_short, has_gaps
from .confirm import confirm, remember
from .drive import Exploration
from .first_look import looked_at
from .foretell import in_words
from .golden import declare, is_undeclared, recorded
from .merge import Merged, merge, not_recovered, violations_of, warnings_of
from .observer import Observer, Silent
from .unjudged import note_unjudged

#: The violations of crash states, by the states' digests: (kind, folded path).
Known = dict[str, frozenset[tuple[str, str]]]
#: Finds the sources of violations: see explain.task.
Explainer = Callable[[Session, Record, ScenarioResult, Options, Known, float | None], Waits[None]]


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
        observer: gets the news.
    """

    session: Session
    options: Options
    budget: Budget
    records: Shared
    ledger: Ledger | None = None
    explain: Explainer | None = None
    baseline: Baseline | None = None
    observer: Observer = field(default_factory=Silent)


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
        until: wall-clock time after which nothing more begins; None for no limit.
        not_recovered: the crash points of which only the state was judged.
    """

    around: Surroundings
    scenario: Scenario
    regressions: Regressions
    result: ScenarioResult = field(init=False)
    merged: Merged = field(default_factory=Merged)
    unfinished: UnfinishedTrials | None = None
    left_out: list[NotJudged] = field(default_factory=list)
    hash_seeds: Job[str] | None = None
    until: float | None = None
    not_recovered: list[NotJudged] = field(default_factory=list)

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
            result.reason, result.is_misuse = record.reason, record.is_misuse
        else:
            yield from self._search(record)
        note_unjudged(result, record, faults_of(options, scenario))
        result.not_judged += [*self.not_recovered, *self.left_out]
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
        also if a run on the result of another only adds to a log. What the tools that it runs keep for
        themselves is ignored.
        """
        around, scenario = self.around, self.scenario
        taken, state = list[Cure](), list[Cure]()
        takes = is_undeclared(scenario)
        while True:
            spec = around.records.claim(scenario)
            end, look = around.budget.end, self._first_look
            record = yield from recorded(around.session, spec, around.options, until=end, meanwhile=look)
            around.records.note(scenario, record)
            new = [one for one in record.cures if one not in taken] if takes else []
            kept = tool_state(record) if takes and not (new or record.reason or state) else []
            if not new and not kept:
                break
            around.records.release(spec)
            declare(scenario, [*new, *kept])
            taken, state = [*taken, *new], [*state, *kept]
        if state:
            self.result.warnings.append(
                f"what tools keep for themselves is ignored: {with_reasons(spec, state)}"
            )
        if taken:
            why = f"its runs differ, so what was proposed is judged: {with_reasons(spec, taken)}"
            self.result.warnings.append(why)
            self.left_out = [NotJudged(one.value, one.why) for one in taken if not one.keyword]
        return spec, record

    def _first_look(self, first: FirstRun) -> Waits[None]:
        """Report what is partial at the crash states of a first run that took long."""
        around, scenario = self.around, self.scenario
        text, trials = yield from looked_at(around.session, scenario, around.options, first)
        self.seen(trials)
        if text:
            around.observer.foretold(scenario.name, text)

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
            known = self.merged.states
            yield from around.explain(around.session, record, result, asked, known, self.until)
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
            self.merged, self.not_recovered = Merged(), []
            if result.exhibit is not None:
                result.exhibit.points.clear()
            result.warnings = [*record.warnings, f"no zygote: {why}"]
            yield from self._by_each_fault(record, by_exec=True)

    def _otherwise_by_exec(self, record: Record, trials: list[Trial]) -> Waits[str]:
        """Return how runs in a zygote differ from runs by exec; "" if no difference is known."""
        result = self.result
        if any(one.confirmed is False and not one.from_recording for one in result.violations):
            return "a violation in it did not show by exec"
        if result.reason or self.scenario.expect or any(not one.known for one in result.violations):
            return ""  # the verdict is not held, or rests on violations that were confirmed by exec
        plans = sample(trials)
        if not plans or (self._is_late() and has_gaps(result)):
            return ""
        task = ExecCheck(record.place, plans, self.around.options.memory)
        (why,) = yield from results_of(submit(self.around.session.root, [task], priority=Priority.CHECK))
        return why

    def _is_late(self) -> bool:
        """Return whether the time of the budget is used up."""
        return self.until is not None and time.time() >= self.until

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
                self.not_recovered += not_recovered(name, one, has_order=record.has_order)
            if around.options.fail_fast and any(not one.from_recording for one in result.violations):
                result.violations = [one for one in result.violations if not one.from_recording]
            result.litter = warnings_of(self.merged.littered, record)
            result.warnings += result.litter
        trials = [trial for one in several.values() for trial in one.trials]
        fallen = [trial.fell_back for trial in trials if trial.fell_back]
        if fallen:
            result.warnings.append(f"no zygote in {len(fallen)} trials, exec instead: {min(fallen)}")
        if self.hash_seeds is not None:
            job, self.hash_seeds = self.hash_seeds, None
            (result.reason,) = yield from results_of(job)
        result.reason = result.reason or (yield from self._later(record))
        if result.reason:  # a nondeterministic pipeline has no golden outputs to compare with
            result.violations.clear()
        if around.baseline is not None and not scenario.expect:
            around.baseline.mark(result)
        yield from confirm(
            around.session, scenario, record, result, around.options, until=self.until, by_exec=by_exec
        )
        return trials

    def _later(self, record: Record) -> Waits[str]:
        """Return how a golden run in another second differs, if that may be why a recovery's outputs do."""
        differ = any(one.kind in ("diverged", "not-idempotent") for one in self.result.violations)
        if not differ or self.scenario.expect or record.refused:
            return ""
        if self._is_late():
            self.result.warnings.append("no golden run in another second was compared: the budget ended")
            return ""
        task = LaterRun(record.place)
        (why,) = yield from results_of(submit(self.around.session.root, [task], priority=Priority.CHECK))
        return why

    def _searches(self, record: Record, several: dict[str, SearchState], *, by_exec: bool) -> Waits[None]:
        """Search by all faults in turn; add their searches to *several*."""
        around, scenario, result = self.around, self.scenario, self.result
        options = around.options
        self.until = until = around.budget.until(scenario.name)
        pause = None if until is None or scenario.expect else until - kept_back(record, until - time.time())
        wanted = list(self._wanted(record, by_exec=by_exec))
        # A known-bad scenario need not meet each fault: the first ones may show all that is expected.
        is_brief = bool(scenario.expect) and not options.exhaustive
        for some in [[one] for one in wanted] if is_brief else [wanted]:
            found = {one.kind for one in result.violations} | _kinds(several.values())
            missing = frozenset(scenario.expect) - found if is_brief else frozenset()
            if is_brief and not missing:
                break
            first = options.fail_fast and not scenario.expect
            turn: dict[str, SearchState] = {}
            for search in some if not (first and found) else ():
                asked = replace(search, until=until, pause=pause, wanted=missing, first=first)
                turn[search.name] = begin(record, asked, self.unfinished)
            several |= turn
            if turn:
                yield from search_levels(
                    around.session, record, list(turn.values()), onlooker=self, before=several
                )
        self._note_untried(wanted, several)
        if until is not None and several and not (scenario.expect or _kinds(several.values())):
            ends = until - kept_back(record, until - time.time(), part=0.0)
            yield from search_deeper(around.session, record, list(several.values()), ends)

    def _note_untried(self, wanted: Sequence[FaultSearch], several: dict[str, SearchState]) -> None:
        """Note the faults that were not tried, as one violation was enough."""
        is_found = bool(self.result.violations) or bool(_kinds(several.values()))
        if not (is_found and self.around.options.fail_fast) or self.scenario.expect:
            return
        for search in wanted:
            if search.name not in several or not several[search.name].trials:
                several.pop(search.name, None)
                why = f"stopped at the first violation: {search.name} was not tried"
                self.result.warnings.append(why)

    # -- news of the searches ------------------------------------------------------------------------

    def seen(self, trials: Sequence[Trial]) -> None:
        """Report what the recording shows to be wrong, before any trial."""
        for trial in trials if not self.scenario.expect else ():
            self.around.observer.seen(self.scenario.name, trial)

    def planned(self, forecast: Forecast) -> None:
        """Start further workers if the runs mostly wait; report what the trials will take."""
        session = self.around.session
        if session.can_grow:
            session.grow(forecast.workers(processors(), psutil.virtual_memory().available))
        text = in_words(forecast, session.workers, processors(), self.around.options.budget)
        self.around.observer.foretold(self.scenario.name, text)

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
        faults = [usable(name, record)[0] for name in names]
        for name in (*names, *(more if options.faults is None else ())):
            fault, notes = usable(name, record)
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
