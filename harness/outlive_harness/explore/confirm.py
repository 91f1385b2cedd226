"""Violations confirmed in a fresh process, and kept: their boxes, plans and marks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from outlive_harness import __version__
from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.marks import marks
from outlive_harness.golden.record import Record
from outlive_harness.history.regressions import Regressions
from outlive_harness.history.store import Store, write_down
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import Waits, results_of, submit
from outlive_harness.results.findings import Violation
from outlive_harness.results.options import MEMORY, Options
from outlive_harness.results.plan import Plan, Point, parse_plan, plan_text
from outlive_harness.results.scenario import Scenario
from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import ScenarioResult
from outlive_harness.search.shrink import shrunk
from outlive_harness.trial.trial import TrialTask

#: How many violations of one scenario keep their boxes.
_KEPT = 3


def confirm(
    session: Session,
    scenario: Scenario,
    record: Record,
    result: ScenarioResult,
    options: Options,
    *,
    until: float | None = None,
    by_exec: bool = False,
) -> Waits[None]:
    """Carry out the plans of violations again by exec, each once; keep the boxes of the first violations.

    Args:
        session: the session whose workers run them.
        scenario: the scenario.
        record: the golden run.
        result: its violations are marked as confirmed or not.
        options: the user's choices.
        until: wall-clock time after which no plan is carried out; None for no limit.
        by_exec: whether the trials that showed the violations were execs: those need no second one.
    """
    numbers = [number for number, one in enumerate(result.violations) if one.point]
    boxed = [n for n in numbers if n < _KEPT and not (scenario.expect or result.violations[n].known)]
    some = [result.violations[n] for n in boxed]
    half = None if until is None else (until + time.time()) / 2  # to be confirmed is more than to be small
    smaller = yield from shrunk(session, record, some, options, half)
    for number, violation in zip(boxed, smaller, strict=True):
        result.violations[number] = violation
    # Each printed id must be replayable, with the options of its failure.
    store = Store(options.store.absolute())
    places = {n: _place(store, scenario, record, result.violations[n], result) for n in numbers}
    wanted: dict[Plan, Path | None] = {}
    for number in numbers:
        violation = result.violations[number]
        if places[number] is None:
            violation.replay = ""
        if number in boxed or violation.from_recording or not by_exec:
            wanted.setdefault(parse_plan(violation.point), places[number] if number in boxed else None)
    trials = yield from _again(session, record, wanted, result, options, until)
    for number in numbers:
        violation, plan = result.violations[number], parse_plan(result.violations[number].point)
        trial = trials.get(plan)
        if trial is not None:
            violation.confirmed = any(one.kind == violation.kind for one in trial.findings)
            violation.kept = str(places[number] or "") if number in boxed else ""
    left = sum(
        1
        for n in numbers
        if (plan := parse_plan(result.violations[n].point)) in wanted.keys() - trials.keys()
    )
    if left:
        what = f"{left} violation{'s were' if left > 1 else ' was'} not confirmed by a second trial"
        result.warnings.append(f"{what}: the budget ended")


def _again(
    session: Session,
    record: Record,
    plans: Mapping[Plan, Path | None],
    result: ScenarioResult,
    options: Options,
    until: float | None,
) -> Waits[dict[Plan, Trial]]:
    """Carry out plans by exec, each with the directory for its boxes; return the trials by plan."""
    trials: dict[Plan, Trial] = {}
    for is_boxed in (True, False):
        tasks = [
            TrialTask(
                record.place, plan, keep=place if is_boxed else None, memory=options.memory, by_exec=True
            )
            for plan, place in plans.items()
            if is_boxed or (plan in trials and trials[plan].trouble and place is not None)
        ]
        if not tasks:
            break
        job = submit(session.root, tasks, priority=Priority.CONFIRMATION, until=until, label="confirming")
        for trial in (yield from results_of(job)):
            if is_boxed and trial.trouble and plans[trial.plan] is not None:
                name = f"{result.name}:{plan_text(trial.plan)}"
                result.warnings.append(f"boxes are not kept whole: {name}: {trial.trouble}")
            trials[trial.plan] = trial
    return trials


def remember(regressions: Regressions, record: Record, result: ScenarioResult) -> None:
    """Keep failures as regressions, which are tried first from then on."""
    failed = [one for one in result.violations if one.kept and one.confirmed and FAULTS[one.fault].counts_ops]
    try:
        if failed and regressions.keep(record, failed):
            result.regressions = str(regressions.path)
    except OSError as error:
        why = error.strerror or error
        result.warnings.append(f"failures cannot be kept in {regressions.path}: {why}")


def _place(
    store: Store, scenario: Scenario, record: Record, violation: Violation, result: ScenarioResult
) -> Path | None:
    """Write down what a replay needs; return the directory, or None, with a warning, if that fails."""
    known = marks(record, parse_plan(violation.point))
    facts = {"version": __version__, "kind": violation.kind, "message": violation.message, "marks": known}
    facts["struck"] = violation.mark
    try:
        return store.keep(violation.replay, {**facts, "scenario": write_down(scenario)})
    except OSError as error:
        why = error.strerror or error
        warning = f"failures cannot be kept in {store.root}: {why}; so they cannot be replayed"
        result.warnings += [warning] if warning not in result.warnings else []
        return None


def once(
    session: Session,
    record: Record,
    plan: Sequence[Point],
    keep: Path | None,
    memory: int = MEMORY,
    *,
    each: bool = False,
) -> Waits[Trial]:
    """Carry out a plan by exec, and return its trial.

    Args:
        session: the session whose workers run it.
        record: the golden run.
        plan: the crashes.
        keep: the directory for the boxes; None to keep none.
        memory: bytes of recorded data that are kept in memory.
        each: whether the outputs are judged after each of the crashes.
    """
    task = TrialTask(record.place, tuple(plan), keep=keep, memory=memory, by_exec=True, each=each)
    (trial,) = yield from results_of(submit(session.root, [task], priority=Priority.CONFIRMATION))
    return trial
