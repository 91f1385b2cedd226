"""Violations confirmed in a fresh process, and kept: their boxes, plans and marks."""

from __future__ import annotations

from collections.abc import Sequence
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
from outlive_harness.results.plan import Point, parse_plan
from outlive_harness.results.scenario import Scenario
from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import ScenarioResult
from outlive_harness.search.shrink import shrunk
from outlive_harness.trial.trial import TrialTask

#: How many violations of one scenario keep their boxes.
_KEPT = 3


def confirm(
    session: Session, scenario: Scenario, record: Record, result: ScenarioResult, options: Options
) -> Waits[None]:
    """Carry out each violation's plan again by exec; keep the boxes of the first ones for a person."""
    store = Store(options.store.absolute())
    for number, found in enumerate(result.violations):
        if not found.point:
            continue
        violation, is_boxed = found, number < _KEPT and not (scenario.expect or found.known)
        if is_boxed:
            violation = result.violations[number] = yield from shrunk(session, record, found, options)
        # Each printed id must be replayable, with the options of its failure.
        kept = _place(store, scenario, record, violation, result)
        place = kept if is_boxed else None
        if kept is None:
            violation.replay = ""
        plan = parse_plan(violation.point)
        trial = yield from once(session, record, plan, place, options.memory)
        if place is not None and trial.trouble:
            result.warnings.append(f"boxes are not kept whole: {violation.replay}: {trial.trouble}")
            trial = yield from once(session, record, plan, None, options.memory)
        violation.confirmed = any(one.kind == violation.kind for one in trial.findings)
        violation.kept = str(place) if place is not None else ""


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
