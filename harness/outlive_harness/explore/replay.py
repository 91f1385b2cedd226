"""One plan carried out again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.record import Record
from outlive_harness.history.golden_runs import Records, Shared
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import Waits
from outlive_harness.results.options import Options
from outlive_harness.results.plan import Plan, plan_text
from outlive_harness.results.scenario import Scenario, ScenarioError
from outlive_harness.results.trials import Trial

from .confirm import once
from .drive import finish
from .golden import recorded


def replay(
    session: Session,
    scenario: Scenario,
    plan: Plan | None,
    *,
    keep: Path | None = None,
    adjust: Callable[[Record, Plan], Plan] | None = None,
    records: Records | None = None,
) -> tuple[Record, Trial | None]:
    """Carry out one plan; the outputs are judged after each of its crashes.

    Args:
        session: the session whose workers do the tasks.
        scenario: the scenario.
        plan: the crashes; None for the golden run alone.
        keep: the directory for the boxes.
        adjust: returns the plan to use in its place, given the golden run.
        records: the golden runs that exist already.

    Returns:
        The golden run, and the trial; None in its place if there is no golden run to compare with.

    Raises:
        ScenarioError: a fault of the plan cannot be injected at its point.
        HarnessError: a fault of ours.
    """
    _check(plan or ())
    golden = records or Shared()

    def one() -> Waits[tuple[Record, Trial | None]]:
        spec = golden.claim(scenario)
        record = yield from recorded(session, spec, Options())
        golden.note(scenario, record)
        trial = None
        if plan is not None and not record.reason:
            plan_now = adjust(record, plan) if adjust else plan
            trial = yield from once(session, record, plan_now, keep, each=True)
        golden.release(spec)
        return record, trial

    return finish(session, one())


def _check(plan: Plan) -> None:
    """Refuse a plan with a point that names nothing."""
    for point in plan:
        fault = FAULTS.get(point.fault)
        why = fault.objection(point, None) if fault is not None else ""
        if why:
            raise ScenarioError(f"plan={plan_text(plan)!r}: {why}")
