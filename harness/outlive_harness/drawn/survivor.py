"""Examples judged: an input's golden run, one plan of crashes, and what was violated."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, NoReturn

from hypothesis import currently_in_test_context, event, note, reject

from outlive_harness.explain.task import explain
from outlive_harness.explore.confirm import once
from outlive_harness.explore.drive import finish
from outlive_harness.explore.golden import recorded
from outlive_harness.explore.merge import violations_of
from outlive_harness.faults import KnownRun
from outlive_harness.faults.table import FAULTS, RUN_FAULTS
from outlive_harness.golden.record import Record
from outlive_harness.history.golden_runs import Records
from outlive_harness.history.store import Store
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import Task, results_of, submit
from outlive_harness.report.text import moment, replay_line
from outlive_harness.results.findings import Violation
from outlive_harness.results.ops import Op
from outlive_harness.results.options import MEMORY, Options
from outlive_harness.results.plan import Plan, PlanError, Point, parse_plan, plan_text
from outlive_harness.results.scenario import Scenario, ScenarioError
from outlive_harness.results.trials import Trial, violation_of
from outlive_harness.results.verdicts import ScenarioResult
from outlive_harness.results.violations import gravity
from outlive_harness.search.choices import profile_of, settings_of
from outlive_harness.trial.later_run import LaterRun
from outlive_harness.trial.power_cuts import LIMIT, FindPowerCuts
from outlive_harness.trial.trial import TrialTask

from .crashes import KNOWN, Crash, Place
from .failure import Failures, NotSurvived, told
from .files import contents_of, laid_out
from .subject import UntestableError, subject_of

#: Bytes that golden runs may take: shrinking goes back to inputs that it has tried.
_ROOM = 64 << 20
#: How many plans that held in a zygote are repeated by exec, for each program.
_REPEATED = 3
#: How many inputs are laid out at a time; shrinking goes back to the last ones.
_INPUTS = 64
_OPTIONS = Options()


class Survivor:
    """Judges the examples of a process, with one worker that starts when it is first needed.

    One worker keeps one warm interpreter through all examples of a test.

    Args:
        store: the project's directory of failures.
    """

    def __init__(self, store: Path) -> None:
        self._failures = Failures(Store(store.absolute()))
        self._session = Session(jobs=1)
        self._records = Records(self._session, room=_ROOM)
        self._is_open, self._owner = False, os.getpid()
        #: by edition: how many plans held in a zygote, and then by exec; -1 if a zygote is not to be used
        self._repeated: dict[str, int] = {}

    def survives(
        self,
        subject: Scenario | Sequence[str | os.PathLike[str]],
        crash: Crash | Iterable[Point] | str,
        *,
        files: object,
        outputs: str | Iterable[str],
        keywords: dict[str, Any],
    ) -> Trial | None:
        """Judge one example; see the fixture's method of this name."""
        __tracebackhide__ = True
        contents = contents_of(files)
        one = subject_of(subject, outputs, keywords)
        plan = None if isinstance(crash, Crash) else _checked(crash)
        self._open()
        base = None if one.input is None else Path(one.file).parent / one.input
        if contents:
            one.input = str(laid_out(self._session.root / "inputs", base, contents, most=_INPUTS))
        with self._golden_run(one) as record:
            if record.unmet:
                _nothing("this input yields no output")
                return None
            if record.reason or record.refused:
                self._untestable(one, record.reason or record.refused)
            if record.findings:
                self._fail(one, record, violations_of(one.name, record))
            _tell(record.warnings)
            trial = self._written(record, one, plan) if plan else self._drawn(record, one, crash)
            if trial is None:
                _nothing("the run has no crash point of the faults asked for")
                return None
            _tell(f"{found.kind}: {found.message}" for found in trial.warnings)
            if trial.findings:
                self._check_repeatable(one, record, trial)
                self._fail(one, record, _violations(self._id(one), trial), trial)
            if trial.trouble:
                self._untestable(one, f"{plan_text(trial.plan)} could not be carried out: {trial.trouble}")
            if not trial.reached and plan:
                self._untestable(one, f"{plan_text(plan)} was not reached: {trial.outcome}")
            if not trial.reached:
                _nothing("a run ended before its crash point")
            return trial

    def close(self) -> None:
        """End the worker, and remove everything but the kept failures."""
        if self._is_open and os.getpid() == self._owner:  # not in a fork of the test's
            self._is_open = False
            self._session.close()

    def _open(self) -> None:
        if not self._is_open:
            self._session.open()
            self._is_open = True

    def _id(self, one: Scenario) -> str:
        """Return the name of a scenario with an input of its own: the first part of a replay id."""
        drawn = one.input is not None and Path(one.input).is_relative_to(self._session.root)
        return f"{one.name}/{os.path.basename(one.input or '')}" if drawn else one.name

    # -- runs ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _golden_run(self, one: Scenario) -> Iterator[Record]:
        """Yield the golden run of a scenario, which drops patterns of outputs that this input does not yield.

        ``unmet`` is empty unless nothing is left to judge.
        """
        while True:
            spec = self._records.claim(one)
            try:
                record = finish(self._session, recorded(self._session, spec, _OPTIONS))
                self._records.note(one, record)
                rest = tuple(pattern for pattern in one.outputs if pattern not in record.unmet)
                if not (record.unmet and rest):
                    yield record
                    return
            finally:
                self._records.release(spec)
            if currently_in_test_context():
                event(f"this input yields no {', '.join(record.unmet)}")
            one.outputs = rest

    def _run(self, task: Task[Any]) -> Any:  # noqa: ANN401 - of the task's type
        job = submit(self._session.root, [task], priority=Priority.TRIAL)
        return finish(self._session, results_of(job))[0]

    def _trial(
        self, record: Record, one: Scenario, plan: Plan, *, each: bool = False, keep_states: bool = False
    ) -> Trial:
        """Carry out a plan, in a zygote if there is one; what is found there must show by exec, too."""
        edition, profile = record.spec.edition, profile_of(_OPTIONS, one)
        times = self._repeated.get(edition, 0)
        by_exec = record.preload is None or times < 0
        task = TrialTask(
            record.place,
            plan,
            keep_states=keep_states,
            by_exec=by_exec,
            from_recording=True,
            profile=profile,
            each=each,
        )
        trial: Trial = self._run(task)
        if by_exec or not (trial.findings or (trial.judged and times < _REPEATED)):
            return trial
        again: Trial = self._run(replace(task, by_exec=True))
        is_alike = bool(again.findings) == bool(trial.findings)
        self._repeated[edition] = times + (not trial.findings) if is_alike else -1
        return again

    # -- plans -----------------------------------------------------------------------------------------

    def _written(self, record: Record, one: Scenario, plan: Plan) -> Trial:
        """Carry out a written plan."""
        for point in plan:
            why = FAULTS[point.fault].objection(point, None)
            if why:
                raise ScenarioError(f"crash={plan_text(plan)!r}: {why}")
        return self._trial(record, one, plan, each=True)

    def _drawn(self, record: Record, one: Scenario, crash: object) -> Trial | None:
        """Draw crash after crash, and carry out each plan; None if the first run has no crash point."""
        assert isinstance(crash, Crash)
        trial: Trial | None = None
        plan: Plan = ()
        ops: Sequence[Op] = record.ops
        while True:
            several = [self._places(record, one, plan, ops, fault) for fault in crash.faults]
            several = [places for places in several if places]
            if not several:
                return trial
            plan = (*plan, crash.place(several))
            is_last = len(plan) == crash.depth
            trial = self._trial(record, one, plan, keep_states=not is_last)
            if is_last or trial.findings or not trial.judged or not crash.goes_on():
                return trial
            ops = trial.recovery

    def _places(
        self, record: Record, one: Scenario, plan: Plan, ops: Sequence[Op], fault: str
    ) -> list[Place]:
        """Return the crash points of a run by one fault, after the crashes of a plan."""
        if FAULTS[fault].cuts_power:
            profile = profile_of(_OPTIONS, one)
            found = self._run(FindPowerCuts(record.place, plan, fault, profile, _OPTIONS.seed, LIMIT, MEMORY))
            if found.reason:
                self._untestable(one, found.reason)
            points = found.points
        else:
            known = KnownRun(ops, record.seconds, None, Random(_OPTIONS.seed))
            points = RUN_FAULTS[fault].configured(settings_of(_OPTIONS, one)).points(known)
        when = moment((*plan, Point(fault, 1)))
        # A recording of a recovery may have more ops than the recovery that was seen.
        told = {number: f", {when}: {op.describe()}" for number, op in enumerate(ops, start=1)}
        return [Place(point, f"{point}{told.get(point.at, '')}") for point in points]

    # -- failures --------------------------------------------------------------------------------------

    def _check_repeatable(self, one: Scenario, record: Record, trial: Trial) -> None:
        """Make sure that outputs do not differ anyway: by a hash seed, by the time."""
        if any(found.kind == "diverged" for found in trial.findings):
            why = self._run(LaterRun(record.place))
            if why:
                self._untestable(one, why)

    def _untestable(self, one: Scenario, why: str) -> NoReturn:
        __tracebackhide__ = True
        raise UntestableError(f"unknown: {self._id(one)}: {why}")

    def _fail(
        self, one: Scenario, record: Record, violations: list[Violation], trial: Trial | None = None
    ) -> NoReturn:
        """Keep a failure, and raise it; the one that hypothesis shows has its boxes and its line.

        Raises:
            NotSurvived: always.
        """
        __tracebackhide__ = True
        first = violations[0]
        is_shown = _is_shown(f"replay: {replay_line(first)}" if first.replay else first.message)
        place, why = self._kept(one, record, first, is_shown=is_shown)
        if is_shown:
            if place is not None and trial is not None:
                finish(self._session, once(self._session, record, trial.plan, place))
                first.kept = str(place)
            result = ScenarioResult(one.name, violations=violations)
            finish(self._session, explain(self._session, record, result, _OPTIONS, {}))
        raise NotSurvived(told(violations, place, self._failures.store) + why)

    def _kept(
        self, one: Scenario, record: Record, first: Violation, *, is_shown: bool
    ) -> tuple[Path | None, str]:
        """Keep a failure; return where, or None and a line that says why it cannot be replayed."""
        try:
            if first.point:
                return self._failures.keep(one, record, first, is_shown=is_shown), ""
            # No crash is needed: what is kept is for a person, who sees only the last.
            name = f"{self._id(one)}:{first.kind}"
            return (self._failures.keep_input(one, name) if is_shown else None), ""
        except OSError as error:
            first.replay = ""
            return None, f"\n  not kept, so it cannot be replayed: {error}"


def _checked(crash: object) -> Plan:
    """Return a written plan: a text, or points.

    Raises:
        ScenarioError: it is none; the message begins with ``crash=``.
    """
    try:
        written = parse_plan(crash) if isinstance(crash, str) else crash
    except PlanError as error:
        raise ScenarioError(f"crash={error}") from error
    plan = tuple(written) if isinstance(written, Iterable) else ()
    if not plan or not all(isinstance(point, Point) for point in plan):
        raise ScenarioError(f"crash={crash!r} must be drawn by crashes(), or a plan, as 'kill@12+kill@3'")
    for point in plan:
        if point.fault not in KNOWN:
            raise ScenarioError(f"crash={plan_text(plan)!r}: faults must be among {', '.join(KNOWN)}")
    return plan


def _violations(name: str, trial: Trial) -> list[Violation]:
    found = sorted(trial.findings, key=lambda one: gravity(one.kind))
    return [violation_of(name, trial.plan[-1].fault, trial, one, 1) for one in found]


def _nothing(why: str) -> None:
    """Drop an example that tests nothing; without hypothesis, return."""
    if currently_in_test_context():
        event(why)
        reject()


def _tell(warnings: Iterable[str]) -> None:
    """Note what fails nothing, and is not judged, in hypothesis's statistics."""
    for warning in warnings if currently_in_test_context() else ():
        event(f"warning: {warning.splitlines()[0]}")


def _is_shown(text: str) -> bool:
    """Print a line if hypothesis shows this example; return whether it does. Without it, all are shown."""
    if not currently_in_test_context():
        return True
    asked: list[str] = []

    class Line:
        def __repr__(self) -> str:
            asked.append(text)  # only what is shown is formatted
            return text

    note(Line())
    return bool(asked)
