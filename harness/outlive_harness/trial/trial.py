"""One plan carried out: crash, judge, recover, compare."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from outlive_harness.disk.tree import Tree, tree_digest
from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.contents import first_unlike
from outlive_harness.golden.record import Record
from outlive_harness.jobs.queue import load, save
from outlive_harness.jobs.shared import first_to
from outlive_harness.jobs.tasks import Task
from outlive_harness.judge import trees
from outlive_harness.judge.acks import digest_text
from outlive_harness.launch.run import FinishedRun
from outlive_harness.results.options import MEMORY
from outlive_harness.results.plan import Plan, plan_text
from outlive_harness.results.run_spec import HOME, TMP
from outlive_harness.results.trials import Outcome, Trial
from outlive_harness.world.box import BoxError
from outlive_harness.world.runner import Runner
from outlive_harness.world.shared import SharedFileError

from .bench import Bench
from .crash import Crash
from .crash_check import crash_check
from .crash_state import Start, reach
from .inject import rests_on
from .partial import partial_outputs
from .recordings import NoStateError, RecordingError
from .recover import recover

#: Names of a crash state that are listed.
_NAMES = 200
#: How often a point that was not reached is tried: threads may run in another order the next time.
_ATTEMPTS = 3
#: How many golden runs' time a trial takes as a rule, and the seconds that it has at least.
_USUAL, _LEAST_GRACE = 3.0, 5.0


@dataclass(frozen=True, slots=True)
class TrialTask(Task[Trial]):
    """One plan, and what its trial may take from earlier ones.

    Attributes:
        place: the record's directory.
        plan: the crashes, one a run.
        states: the directory in which all workers claim crash states; None to judge the state in any case.
        recovered: the directory in which all faults note the states that recover; None to recover in any
            case.
        start: a kept copy of the crash state before the plan's last crash, if there is one.
        acks: what the runs up to that copy acknowledged.
        keep_states: whether deeper plans need the crash state.
        keep: the directory that takes the crash state and the recovered box, for a person.
        memory: bytes of recorded data that are kept in memory.
        by_exec: whether all runs start by exec even if there is a zygote.
        fresh: whether the recovery starts by exec, whatever the runs before it do.
        from_recording: whether the crash state may be taken from a recording of the first run.
        profile: the weakest profile that a power cut is labelled with.
        each: whether the outputs are judged after each of the plan's crashes, not only after the last.
        until: wall-clock time at which the budget ends: a trial that takes much longer is given up; None for
            no limit.
    """

    place: Path
    plan: Plan
    states: Path | None = None
    recovered: Path | None = None
    start: Path | None = None
    acks: tuple[str, ...] = ()
    keep_states: bool = False
    keep: Path | None = None
    memory: int = MEMORY
    by_exec: bool = False
    fresh: bool = False
    from_recording: bool = False
    profile: str = "strict"
    each: bool = False
    until: float | None = None

    def run(self, bench: Bench) -> Trial:
        """Carry out the plan; errors of the machine are in the trial."""
        trial, runner = Trial(self.plan), bench.runner
        record = bench.record(self.place)
        runner.fell_back = ""
        try:
            if self.by_exec:
                runner.cool()
            else:
                runner.choose_start(record.spec, record.preload, record.check_preloads)
            with runner.due(None if self.until is None else self.until + _grace(record)):
                _carry_out(bench, record, self, trial)
        except SharedFileError:  # it is shared no more
            return self.run(bench)
        except (BoxError, RecordingError, OSError) as error:
            is_gone = isinstance(error, NoStateError)
            trial.fail(str(error), Outcome.IMPOSSIBLE if is_gone else Outcome.FAILED)
            runner.box.empty()
        trial.fell_back = runner.fell_back
        return trial

    def lost(self, why: str) -> Trial:
        """Return a failed trial."""
        trial = Trial(self.plan)
        trial.fail(why)
        return trial


def _grace(record: Record) -> float:
    """Return the seconds after a budget's end in which a trial may finish; one that hangs does not."""
    return _LEAST_GRACE + _USUAL * record.seconds


def _carry_out(bench: Bench, record: Record, task: TrialTask, trial: Trial) -> None:
    start = Start(task.plan, task.start, task.acks, task.from_recording, each=task.each, memory=task.memory)
    for _ in range(_ATTEMPTS):
        crash, ran = reach(bench.recordings, record, start, trial)
        if crash is not None:
            if task.fresh:
                bench.runner.cool()
            examine(bench.runner, record, task, trial, crash)
            trial.rests_on = crash.rests_on or _first_rests_on(record, task.plan)
            if crash.state is not None and trial.findings:
                strongest = bench.recordings.strongest(record, task.plan, crash.state, task.profile)
                trial.profile, why = strongest
                trial.rests_on = trial.rests_on or why
            return
        if _did_all(bench.runner, record, ran):
            trial.outcome = Outcome.TOO_SHORT
        else:
            trial.outcome = Outcome.NOT_REACHED


def _did_all(runner: Runner, record: Record, ran: FinishedRun | None) -> bool:
    """Return whether a run did all of its work in fewer ops, so that not every run has the point."""
    after = runner.look(record.spec)
    return first_unlike(record, after) is None and ran is not None and not ran.failure()


def _first_rests_on(record: Record, plan: Plan) -> str:
    """Return the rare condition that a plan's first crash needs, if an earlier trial carried that out."""
    return rests_on(plan[0], record.ops[plan[0].at - 1]) if plan[0].at <= len(record.ops) else ""


def examine(runner: Runner, record: Record, task: TrialTask, trial: Trial, crash: Crash) -> None:
    """Judge the crash state in the box, and recover from it; the trial takes the findings.

    Raises:
        BoxError: the box cannot be read, ...
    """
    box = runner.box
    trial.acks = crash.acks
    # Ignored files are not compared, but a recovery may read them.
    files = box.look(record.spec, whole=True)
    state = runner.valued(record.spec, record.compared(files))
    trial.state = tree_digest(files, record.fold)
    for other in _beside_the_files(runner, record, crash, files):
        trial.state += digest_text(other)
    if task.keep is not None:
        box.keep(task.keep / "crashed")
    if crash.unseen:
        trial.fail(crash.unseen)
        return
    if task.states is not None and not first_to(task.states, trial.state, plan_text(task.plan)):
        trial.outcome = Outcome.REPEATED
        return
    if task.keep_states and task.states is not None:
        box.keep(task.states / f"{trial.state}.tree")
    now = {finding.path: finding for finding in partial_outputs(runner, record, state, crash)}
    trial.findings += (crash.partial | now).values()
    trial.findings += crash_check(runner, record, crash.acks, trial.story)
    trial.story.append(f"{len(state)} names left behind")
    if trial.findings:
        _expect_room(runner, record, trial)
    trial.outcome = Outcome.JUDGED
    if not _is_known_to_recover(task, trial):
        _recover(runner, record, task, trial, state, crash)
    if trial.findings:
        trial.left = names_left(record, state)
    if task.keep is not None:
        box.keep(task.keep / "recovered")


def _beside_the_files(runner: Runner, record: Record, crash: Crash, files: Tree) -> list[str]:
    """Return what makes two crash states with equal files different.

    That is what was acknowledged, partial content that was visible before, and extended attributes and inode
    flags.
    """
    several = []
    if crash.acks:
        several.append("\n".join(crash.acks))
    if crash.partial:
        several.append(repr(sorted(crash.partial)))
    if any(op.traits.attributes for op in record.ops):
        several.append(runner.box.attributes(files))
    return several


def _is_known_to_recover(task: TrialTask, trial: Trial) -> bool:
    """Return whether a recovery from these files has succeeded before, after any fault."""
    note = _note(task, trial)
    if note is None or not note.exists():
        return False
    trial.recovery = load(note)
    trial.story.append("a recovery from the same state has succeeded before, after another fault")
    return True


def _recover(
    runner: Runner, record: Record, task: TrialTask, trial: Trial, state: Tree, crash: Crash
) -> None:
    """Recover, and note for other faults that the recovery succeeded."""
    before = len(trial.findings)
    recover(runner, record, trial, state, crash, keep_ops=task.keep_states)
    if len(trial.findings) > before:
        _expect_room(runner, record, trial)
    # A report on leftovers depends on the fault, so only a recovery without leftovers is noted.
    note = _note(task, trial)
    if note is not None and len(trial.findings) == before and not (trial.warnings or trial.trouble):
        save(note, trial.recovery)


def _expect_room(runner: Runner, record: Record, trial: Trial) -> None:
    """Never blame the pipeline for a full disk of ours: drop the findings if that may be their cause.

    Raises:
        BoxError: the disk may have been full.
    """
    # After a fault that fills the disk, the pipeline's message is about that fault.
    is_told = any(FAULTS[point.fault].fills_disk for point in trial.plan)
    try:
        said = () if is_told else (one.detail for one in trial.findings)
        runner.box.expect_room(record.final, *said)
    except BoxError:
        trial.findings.clear()
        raise


def _note(task: TrialTask, trial: Trial) -> Path | None:
    """Return the file that notes that a state recovers, and its recovery's ops if deeper plans need them."""
    if task.recovered is None:
        return None
    return task.recovered / f"{trial.state}.{'ops' if task.keep_states else 'state'}"


def names_left(record: Record, state: Tree) -> tuple[tuple[str, str], ...]:
    """Return what a crash left, beside what the golden run leaves."""
    names = [path for path in sorted(state.keys() | record.final.keys()) if path not in (TMP, HOME)]
    several = []
    for path in names[:_NAMES]:
        here, golden = state.get(path), record.final.get(path)
        what = trees.described(here)
        if here != golden:
            what += "; the golden run leaves "
            what += "no such name" if golden is None else trees.described(golden)
        several.append((path, what))
    return tuple(several)
