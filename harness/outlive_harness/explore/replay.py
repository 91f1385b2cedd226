"""One plan carried out again, and told in full."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.record import Record
from outlive_harness.history.golden_runs import Records, Shared
from outlive_harness.jobs.session import Session
from outlive_harness.results.options import Options
from outlive_harness.results.plan import Plan, plan_text
from outlive_harness.results.scenario import Scenario, ScenarioError
from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import ScenarioResult

from .confirm import once
from .drive import Exploration, drive
from .golden import recorded
from .observer import Silent


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
        session: whose workers do it.
        scenario: what is run.
        plan: the crashes; None to make the golden run alone.
        keep: where the boxes are kept.
        adjust: gives another plan in its place once the golden run is there.
        records: which golden runs there are already.

    Returns:
        The golden run, and the trial; no trial if there is no golden run to compare with.

    Raises:
        ScenarioError: the plan names what cannot be injected.
        HarnessError: a fault of ours.
    """
    for point in plan or ():
        fault = FAULTS.get(point.fault)
        why = fault.objection(point, None) if fault is not None else ""
        if why:
            raise ScenarioError(f"plan={plan_text(plan or ())!r}: {why}")
    golden = records or Shared()
    results: dict[str, ScenarioResult] = {}
    said: list[tuple[Record, Trial | None]] = []

    def one() -> Exploration:
        spec = golden.claim(scenario)
        record = yield from recorded(session, spec, Options())
        golden.note(scenario, record)
        trial = None
        if plan is not None and not record.reason:
            plan_now = adjust(record, plan) if adjust else plan
            trial = yield from once(session, record, plan_now, keep, each=True)
        said.append((record, trial))
        golden.release(spec)
        return ScenarioResult(scenario.name)

    drive(session, {scenario.name: one()}, results, Silent())
    return said[0]
