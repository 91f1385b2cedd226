"""A recovery: the pipeline runs again without a fault, and its files are judged."""

from __future__ import annotations

from collections.abc import Sequence

from outlive_harness.disk.tree import Tree
from outlive_harness.golden.record import Record
from outlive_harness.intercept.supervisor import GO, Answer, Ending
from outlive_harness.judge.acks import lost_acks
from outlive_harness.launch.options import RunOptions, Visit
from outlive_harness.launch.pool import CRASH_CHECK
from outlive_harness.launch.run import FinishedRun
from outlive_harness.results.findings import Finding
from outlive_harness.results.ops import Op
from outlive_harness.results.trials import Trial
from outlive_harness.world.runner import Runner

from .compare import Leftovers, compare
from .crash import Crash, Touched
from .inject import unseen


def recover(
    runner: Runner, record: Record, trial: Trial, state: Tree, crash: Crash, *, keep_ops: bool
) -> None:
    """Run again without a fault, and compare the files with the golden run's: truths 2 to 5.

    Args:
        runner: runs the pipeline; its box holds the crash state.
        record: the golden run.
        trial: takes the findings.
        state: the crash state.
        crash: the facts about the runs before it.
        keep_ops: whether deeper plans need the ops of the recovery.

    Raises:
        BoxError: the box cannot be read.
    """
    touched = Touched()
    ran = _restarted(runner, record, trial, touched, keep_ops=keep_ops)
    trial.redone = ran.ops
    if not record.refused and (hindered := ran.hindered()):
        trial.fail(f"the recovery {hindered}")
        return
    if ran.failure():
        kind = "recovery-hung" if ran.ended is Ending.TIMEOUT else "recovery-failed"
        sentence = f"the pipeline, run again after the crash, {ran.failure()}"
        trial.findings.append(Finding(kind, "", sentence, ran.told))
        return
    if keep_ops and unseen(record, ran):  # deeper crashes would be injected into this recovery
        trial.fail(unseen(record, ran))
    files = runner.box.look(record.spec)
    after = runner.valued(record.spec, files)
    compare(runner, record, trial, after, Leftovers(state, crash.touched, touched, not record.refused))
    trial.findings += _judged_by_checks(runner, record, trial.acks)
    if not record.spec.takes_acks:
        trial.findings += lost_acks(record.spec, files, runner.box.path, crash.acks)


def _judged_by_checks(runner: Runner, record: Record, acks: Sequence[str]) -> list[Finding]:
    """Run the check; if only that of crash states takes what was acknowledged, that judges it now too."""
    spec = record.spec
    found: list[Finding] = []
    if spec.check:
        said = runner.check(spec, acks)
        found += said.findings(record.value, takes_acks=spec.check_takes_acks)
    if spec.crash_check_takes_acks and not spec.check_takes_acks:
        said = runner.check(spec, acks, role=CRASH_CHECK)
        found += said.findings(said.value, takes_acks=True)
    return found


def _restarted(
    runner: Runner, record: Record, trial: Trial, touched: Touched, *, keep_ops: bool
) -> FinishedRun:
    """Run the pipeline until it succeeds, as often as its scenario allows; return the last run."""
    attempt = 1
    while True:
        trial.story.append("run again with no fault" if attempt == 1 else f"run again, restart {attempt}")
        # A deeper crash is injected into the first start after this one.
        visit = None if record.refused else _noting(touched, trial, keeps=keep_ops and attempt == 1)
        options = RunOptions(timeout=record.limit, visit=visit, places=keep_ops, syncs=False)
        ran = runner.run(record.spec, options)
        if not ran.failure() or attempt >= record.spec.restarts:
            return ran
        attempt += 1


def _noting(touched: Touched, trial: Trial, *, keeps: bool) -> Visit:
    def visit(op: Op, _number: int) -> Answer:
        touched.note(op)
        if keeps:
            trial.recovery.append(op)
        return GO

    return visit
