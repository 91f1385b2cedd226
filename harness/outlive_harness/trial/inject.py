"""A run with a fault, and what is seen of it on the way."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from outlive_harness.disk.content import part_of
from outlive_harness.faults import Injection
from outlive_harness.faults.table import FAULTS, RUN_FAULTS
from outlive_harness.golden.record import Record
from outlive_harness.intercept.lookup import Keeper
from outlive_harness.intercept.supervisor import GO, Answer, Ending
from outlive_harness.intercept.versions import Versions
from outlive_harness.launch.options import RunOptions
from outlive_harness.launch.run import FinishedRun
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import Point
from outlive_harness.world.box import BoxError
from outlive_harness.world.runner import Runner

from .crash import Crash
from .partial import partial_outputs


@dataclass(frozen=True, slots=True)
class Recorder:
    """Takes the recording of a run.

    Attributes:
        ops: takes the ops.
        keeper: takes the bytes that they write.
    """

    ops: list[Op]
    keeper: Keeper


def unseen(record: Record, ran: FinishedRun) -> str:
    """Return why a run's changes to an output are unknown; "" if the golden run is no different."""
    known = set(record.trace.blind)
    news = [reason for path, reason in ran.blind if (path, reason) not in known and _matters(record, path)]
    return news[0] if news else ""


def _matters(record: Record, path: str) -> bool:
    return not path or record.is_shown(path)


def run_with_fault(
    runner: Runner, record: Record, point: Point, crash: Crash, recorder: Recorder | None = None
) -> tuple[FinishedRun, bool]:
    """Run until the fault is injected, and on if the run survives it.

    Args:
        runner: runs the pipeline, on its box as it is.
        record: the golden run.
        point: the point at which the fault is injected.
        crash: takes the facts about the run.
        recorder: takes the recording; None for no recording.

    Returns:
        The run, and whether it reached the point.
    """
    injection = RUN_FAULTS[point.fault].inject(point, runner.box.path)
    if injection.answer is None:
        ran = runner.run(record.spec, RunOptions(timeout=record.limit, kill_after=injection.after_seconds))
        crash.acks += ran.acks
        return ran, ran.ended is Ending.CRASHED
    watcher = _Watcher(runner, record, injection, crash, recorder)
    options = RunOptions(
        timeout=record.limit,
        visit=watcher.visit,
        tear=injection.tear,
        syncs=recorder is not None,
        grace=injection.grace,
        data=recorder.keeper if recorder is not None else False,
        places=recorder is not None or injection.tear is not None,
    )
    ran = runner.run(record.spec, options)
    crash.acks += ran.acks
    crash.rests_on = crash.rests_on or rests_on(point, crash.op)
    crash.went_on = injection.goes_on
    if injection.goes_on and watcher.is_injected:
        crash.unseen = unseen(record, ran)
    if ran.refused:
        crash.unseen = f"the run {ran.failure()}"
    return ran, watcher.is_injected


def rests_on(point: Point, op: Op | None) -> str:
    """Return the rare condition that the crash state of a point needs; "" for none."""
    return FAULTS[point.fault].rests_on(point, op) if op is not None else ""


class _Watcher:
    """Answers the ops of one run as an injection says, and judges the run's states after the fault."""

    def __init__(
        self, runner: Runner, record: Record, injection: Injection, crash: Crash, recorder: Recorder | None
    ) -> None:
        assert injection.answer is not None
        self._answer = injection.answer
        self._goes_on = injection.goes_on
        self._tear = injection.tear
        self._ops = recorder.ops if recorder is not None else None
        self._versions: Versions | None = None
        self._runner, self._record, self._crash = runner, record, crash
        self._to_look = False
        self._cut: set[str] = set()  # files to which a write failed, or was cut short
        self.is_injected = False
        if record.varying or record.uncompared or crash.found is not None or injection.goes_on:
            box = Path(os.path.realpath(runner.box.path))
            self._versions = Versions(
                box, record.is_shown, digest=runner.digest_of(record.spec), any_install=True
            )
            crash.versions = self._versions.known

    def visit(self, op: Op, number: int) -> Answer:
        """Return the answer to one op."""
        crash = self._crash
        if self._to_look:
            self._look()
        answer = self._answer(op, number)
        if answer != GO and not self.is_injected:
            self.is_injected = True
            crash.op = op
        if answer.crash and self._ops is not None and self._tear:
            self._ops.append(_cut_op(op, self._tear))
        if answer.errno or answer.part:
            self._cut.add(op.path)
        if answer.crash and self._versions is not None:
            self._versions.settle(self._record.uncompared)
        if answer.crash or answer.errno:
            return answer
        if self._ops is not None:
            self._ops.append(_cut_op(op, answer.part) if answer.part else op)
        crash.touched.note(op)
        if self._versions is not None and not self._installs_cut(op):
            self._versions.before(op)
        if self.is_injected and self._goes_on:
            is_shown = self._record.is_shown
            self._to_look = is_shown(op.path) or is_shown(op.target) or op.kind in ("rename", "symlink")
        return answer

    def _installs_cut(self, op: Op) -> bool:
        """Return whether an op installs a file that is not whole, as a write to it failed."""
        if op.kind == "unlink" or op.empties or (op.kind == "open" and op.flags & os.O_EXCL):
            self._cut.discard(op.path)
        return op.traits.installs and op.path in self._cut

    def _look(self) -> None:
        """Judge the files that readers see now, after the op before this one."""
        try:
            state = self._runner.look(self._record.spec)
        except BoxError:  # another process moved or removed a file just now: try at the next op
            return
        self._to_look = False
        for finding in partial_outputs(self._runner, self._record, state, self._crash):
            self._crash.partial.setdefault(finding.path, finding)


def _cut_op(op: Op, length: int) -> Op:
    """Return a write of which only the first bytes reach the file."""
    data = op.content
    return replace(op, length=length, data=None if data is None else part_of(data, 0, length))
