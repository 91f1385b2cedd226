"""A plan's crashes, one after the other, until the box holds the last crash state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.marks import mark_of
from outlive_harness.golden.record import Record
from outlive_harness.intercept.supervisor import Ending
from outlive_harness.launch.run import FinishedRun
from outlive_harness.results.findings import Finding
from outlive_harness.results.plan import Plan, Point, plan_text
from outlive_harness.results.trials import Trial
from outlive_harness.world.runner import Runner

from .crash import Crash
from .crash_check import crash_check
from .inject import run_with_fault
from .partial import partial_outputs
from .real_disk import real_cuts
from .recorded_state import recorded_state, state_after_cut
from .recordings import RecordingError, Recordings


@dataclass(frozen=True, slots=True)
class Start:
    """The crashes of a plan, and where they begin.

    Attributes:
        plan: the crashes.
        place: a kept copy of the crash state before the last crash; None to begin at the first.
        acks: what the runs up to that copy acknowledged.
        from_recording: whether the crash state may be taken from a recording of the first run.
        each: whether outputs are judged after each of the crashes, not only after the last.
        memory: bytes of recorded data that are kept in memory.
    """

    plan: Plan
    place: Path | None
    acks: tuple[str, ...]
    from_recording: bool
    each: bool
    memory: int


def reach(
    recordings: Recordings, record: Record, start: Start, trial: Trial
) -> tuple[Crash | None, FinishedRun | None]:
    """Fill a box and run through the plan's crashes.

    Returns:
        The crash, or None if one of them was not reached; and the last run, if there was one.

    Raises:
        BoxError, RecordingError, OSError: it cannot be carried out.
    """
    crash, runner = _recorded(recordings, record, start), recordings.runner
    if crash is not None:
        trial.story.append(f"torn at {start.plan[0]}")
        return _noted(record, trial, crash), None
    crash, points = Crash(), start.plan
    if start.place is None:
        runner.box.fill(record.template)
    else:
        runner.box.fill(start.place)
        crash.acks += start.acks
        points = start.plan[-1:]
    ran: FinishedRun | None = None
    before: dict[str, Finding] = {}
    for number, point in enumerate(points, start=len(start.plan) - len(points)):
        if number and start.each:
            before |= _partial_so_far(runner, record, start.plan[:number], crash, trial)
        if FAULTS[point.fault].cuts_power == "model":
            crash = _power_cut(recordings, record, start.plan[: number + 1], start.memory, trial)
            continue
        if FAULTS[point.fault].cuts_power == "real":
            crash = _real_power_cut(runner, record, point, trial)
            continue
        crash.found = runner.look(record.spec) if number else None
        trial.story.append(f"run until {point}")
        ran, is_injected = run_with_fault(runner, record, point, crash)
        if not is_injected:
            trial.story.append(f"not reached: the run {ran.failure() or 'ended'} after {ran.ops} ops")
            return None, ran
        trial.story.append(f"{point.fault} injected{_aftermath(ran)}")
    crash.partial = before | crash.partial
    return _noted(record, trial, crash), ran


def _partial_so_far(
    runner: Runner, record: Record, plan: Plan, crash: Crash, trial: Trial
) -> dict[str, Finding]:
    """Return findings about what readers see between two crashes, by path."""
    state = runner.look(record.spec)
    found = [*crash.partial.values(), *partial_outputs(runner, record, state, crash)]
    found += crash_check(runner, record, crash.acks, trial.story)
    crash.partial = {}
    return {one.path: replace(one, message=f"after {plan_text(plan)} {one.message}") for one in found}


def _noted(record: Record, trial: Trial, crash: Crash) -> Crash:
    if crash.op is not None:
        trial.op, trial.path, trial.mark = crash.op.describe(), crash.op.path, mark_of(record, crash.op)
    return crash


def _recorded(recordings: Recordings, record: Record, start: Start) -> Crash | None:
    """Put the files that a torn write leaves into the box; return None if that needs a run of its own."""
    point = start.plan[0]
    if not (start.from_recording and len(start.plan) == 1 and FAULTS[point.fault].is_recorded):
        return None
    found = recorded_state(recordings, record, point, start.memory)
    return None if found is None else found.lay_out(recordings.runner)


def _power_cut(recordings: Recordings, record: Record, plan: Plan, memory: int, trial: Trial) -> Crash:
    """Put the files that a power cut leaves into the box."""
    trial.story.append(f"power cut at {plan[-1]}")
    found = state_after_cut(recordings, record, plan, memory)
    trial.lost, trial.stayed = found.lost, found.stayed
    crash = found.lay_out(recordings.runner)
    assert crash is not None
    return crash


def _real_power_cut(runner: Runner, record: Record, point: Point, trial: Trial) -> Crash:
    """Put the files that a power cut left on a real file system into the box."""
    journal = ", its journal just written" if point.part else ""
    trial.story.append(f"power cut on a real {point.fault} after op {point.at}{journal}")
    cuts = real_cuts(runner, record, point.fault, seed=0)
    tree = cuts.tree(point)
    if tree is None or cuts.reason:
        raise RecordingError(f"{point}: {cuts.reason or f'the run makes {cuts.most} ops'}")
    runner.box.fill(tree)
    done = cuts.runs[point.part]
    crash = Crash(done.ops[point.at - 1], acks=done.acks[: done.said[point.at]])
    for op in done.ops[: point.at]:
        crash.touched.note(op)
    return crash


def _aftermath(ran: FinishedRun) -> str:
    """Return how a run ended that went on after its fault, in words; "" if it did not go on."""
    if ran.ended is Ending.CRASHED:
        return ""
    return f"; the run went on: it {ran.failure() or 'exited with 0'}"
