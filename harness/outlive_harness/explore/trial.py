"""One plan carried out: crash, look, recover, compare."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from outlive_harness import judge
from outlive_harness.disk.tree import Tree, tree_digest
from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.launch.run import Ran
from outlive_harness.plan import Plan, Point, plan_text
from outlive_harness.realfs import KINDS
from outlive_harness.trace import Op

from . import links
from .acks import digest_text, lost_acks
from .board import first_to, load, save
from .golden import Record
from .real import real_cuts
from .rebase import told_by
from .results import Finding, Trial
from .runner import BoxError, Runner, Touched
from .strike import Crash, cut_short, run_struck, torn, unseen
from .subject import HOME, TMP, is_of_interpreter
from .tapes import MEMORY, NoStateError, TapeError, Tapes

#: Names that a crash left which are listed.
_NAMES = 200
#: How often a point is tried that a run did not reach: threads may take another way the next time.
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is asked to do: one plan, and what it may take from earlier trials.

    Attributes:
        place: directory of the record.
        plan: the crashes, one a run.
        states: directory shared by the workers, where crash states are claimed; None to judge in any
            case.
        clean: directory shared by all faults: states from which a recovery did all that it must; None to
            recover in any case.
        start: a kept copy of the crash state after all but the plan's last crash, if there is one.
        acks: what the runs before that one acknowledged.
        keep_states: whether the crash state is to be kept for deeper plans.
        keep: where the box and the crash state are to be kept for a person.
        memory: bytes of recorded data that are kept in memory.
        by_exec: whether each run is to be an exec, though a zygote would do.
        fresh: whether the recovery is, whatever the runs before it are.
        taped: whether what a torn write leaves may be told from a recording, with no run.
        profile: what the disk promises at least where the power is cut.
        each: whether the outputs are judged after each of the plan's crashes, and not after the last alone.
    """

    place: Path
    plan: Plan
    states: Path | None = None
    clean: Path | None = None
    start: Path | None = None
    keep_states: bool = False
    keep: Path | None = None
    acks: tuple[str, ...] = ()
    memory: int = MEMORY
    by_exec: bool = False
    fresh: bool = False
    taped: bool = False
    profile: str = "strict"
    each: bool = False


def carry_out(tapes: Tapes, record: Record, order: Order) -> Trial:
    """Carry out one order; trouble with the machine is told in the trial, not raised."""
    trial = Trial(order.plan)
    runner = tapes.runner
    runner.fell_back = ""
    try:
        if order.by_exec:
            runner.cool()
        else:
            runner.choose_start(record.subject, record.preload, record.check_preload)
        for _ in range(_ATTEMPTS):
            crash, ran = _strike_all(tapes, record, order, trial)
            if crash is not None:
                trial.unmet = False
                if order.fresh:
                    runner.cool()
                examine(runner, record, order, trial, crash)
                trial.rests_on = crash.rests_on or _first_cut_short(record, order.plan)
                if crash.state is not None and trial.findings:
                    trial.profile, why = tapes.strongest(record, order.plan, crash.state, order.profile)
                    trial.rests_on = trial.rests_on or why
                break
            # A run that did all its work in fewer ops shows that the point is not in every run.
            after = runner.look(record.subject)
            whole = judge.first_difference(record.final, after, record.subject.is_output) is None
            trial.unmet = whole and ran is not None and not ran.failure()
    except (BoxError, TapeError, OSError) as error:
        trial.trouble = str(error)
        trial.impossible = isinstance(error, NoStateError)
        runner.empty()
    trial.fell_back = runner.fell_back
    return trial


def _first_cut_short(record: Record, plan: Plan) -> str:
    """Say what a plan rests on whose first crash was carried out before."""
    return cut_short(plan[0], record.ops[plan[0].at - 1]) if plan[0].at <= len(record.ops) else ""


def _strike_all(tapes: Tapes, record: Record, order: Order, trial: Trial) -> tuple[Crash | None, Ran | None]:
    """Fill a box and run through the plan's crashes; no crash if one was not reached."""
    crash, runner = Crash(), tapes.runner
    if order.taped and len(order.plan) == 1 and order.plan[0].fault == "torn":
        told = _torn_off(tapes, record, order)
        if told is not None:
            trial.story.append(f"torn at {order.plan[0]}")
            return _struck(record, trial, told), None
    if order.start is None:
        runner.fill(record.place / "template")
        points = order.plan
    else:
        runner.fill(order.start)
        crash.acks += order.acks
        points = order.plan[-1:]
    ran: Ran | None = None
    before: dict[str, Finding] = {}
    for number, point in enumerate(points, start=len(order.plan) - len(points)):
        if number and order.each:
            before |= _torn_so_far(runner, record, order.plan[:number], crash)
        if point.fault == "power":
            crash = _cut(tapes, record, order.plan[: number + 1], order.memory, trial)
            continue
        if point.fault in KINDS:
            crash = _real_cut(runner, record, point, trial)
            continue
        crash.found = runner.look(record.subject) if number else None
        trial.story.append(f"run until {point}")
        ran, is_struck = run_struck(runner, record, point, crash)
        if is_struck:
            trial.story.append(f"struck{_aftermath(ran)}")
        else:
            trial.story.append(f"not reached: the run {ran.failure() or 'ended'} after {ran.ops} ops")
            return None, ran
    crash.torn = before | crash.torn
    return _struck(record, trial, crash), ran


def _torn_so_far(runner: Runner, record: Record, plan: Plan, crash: Crash) -> dict[str, Finding]:
    """Judge what a reader sees between two crashes; return it by path."""
    found = [*crash.torn.values(), *torn(runner, record, runner.look(record.subject), crash)]
    crash.torn = {}
    return {one.path: replace(one, message=f"after {plan_text(plan)} {one.message}") for one in found}


def _struck(record: Record, trial: Trial, crash: Crash) -> Crash:
    trial.reached = True
    if crash.op is not None:
        trial.op, trial.path, trial.mark = crash.op.describe(), crash.op.path, told_by(record, crash.op)
    return crash


def _torn_off(tapes: Tapes, record: Record, order: Order) -> Crash | None:
    """Put what a torn write leaves into the box; None where the recording has no such write there."""
    point = order.plan[0]
    tape, model = tapes.of(record, (), memory=order.memory)
    if model is None or point.at > min(len(tape.ops), len(record.ops)):
        return None
    op, planned = tape.ops[point.at - 1], record.ops[point.at - 1]
    is_it = (op.kind, record.fold(op.path), op.offset, op.begin, op.length) == (
        planned.kind,
        record.fold(planned.path),
        planned.offset,
        planned.begin,
        planned.length,
    )
    if not is_it or not tapes.runner.lay_out(model.state(point.at - 1), torn=(op, point.part)):
        return None
    crash = Crash(
        op,
        acks=tape.acks[: tape.said[point.at - 1]],
        versions=tape.versions,
        rests_on=cut_short(point, op),
    )
    for done in tape.ops[: point.at - 1]:
        crash.touched.note(done)
    return crash


def _cut(tapes: Tapes, record: Record, plan: Plan, memory: int, trial: Trial) -> Crash:
    """Put what a power cut leaves into the box."""
    trial.story.append(f"power cut at {plan[-1]}")
    tape, state = tapes.cut(record, plan, memory=memory)
    tapes.runner.lay_out(state)
    done = tape.ops[: state.at]
    crash = Crash(
        done[-1],
        found=tape.found,
        versions=tape.versions,
        acks=tape.promised(state),
        state=state,
    )
    for op in done:
        crash.touched.note(op)
    trial.lost = [tape.name(name) for name in state.lost]
    trial.stayed = tape.kept(state.lost, state.at)
    return crash


def _real_cut(runner: Runner, record: Record, point: Point, trial: Trial) -> Crash:
    """Put what a power cut left on a real file system into the box."""
    journal = ", its journal just written" if point.part else ""
    trial.story.append(f"power cut on a real {point.fault} after op {point.at}{journal}")
    cuts = real_cuts(runner, record, point.fault, seed=0)
    tree = cuts.tree(point)
    if tree is None or cuts.reason:
        raise TapeError(f"{point}: {cuts.reason or f'the run makes {cuts.most} ops'}")
    runner.fill(tree)
    done = cuts.runs[point.part]
    crash = Crash(done.ops[point.at - 1], acks=done.acks[: done.said[point.at]])
    for op in done.ops[: point.at]:
        crash.touched.note(op)
    return crash


def _aftermath(ran: Ran) -> str:
    """Say what a run did that was struck and might go on."""
    if ran.ended == "crashed":
        return ""
    return f"; the run went on: it {ran.failure() or 'exited with 0'}"


def examine(runner: Runner, record: Record, order: Order, trial: Trial, crash: Crash) -> None:
    """Judge the crash state that stands in the box, and recover from it; the trial says what came of it.

    Raises:
        BoxError: the box cannot be read, ...
    """
    state = runner.look(record.subject)
    trial.acks = crash.acks
    # What is ignored is not compared, but a recovery may read it.
    files = runner.look(record.subject, whole=True) if record.subject.ignore else state
    trial.state = tree_digest(files, record.fold)
    for other in _beside_the_files(runner, record, crash, files):
        trial.state += digest_text(other)
    if crash.unseen:
        trial.trouble = crash.unseen
    if order.keep is not None:
        runner.keep(order.keep / "crashed")
    if order.states is not None and not first_to(order.states, trial.state, plan_text(order.plan)):
        return
    trial.judged = True
    if order.keep_states and order.states is not None:
        runner.keep(order.states / f"{trial.state}.tree")
    now = {finding.path: finding for finding in torn(runner, record, state, crash)}
    trial.findings += (crash.torn | now).values()
    trial.story.append(f"{len(state)} names left behind")
    if trial.findings:
        _doubt(runner, record, trial)
    if not _is_known_to_recover(order, trial):
        _recover_noting(runner, record, order, trial, state, crash)
    trial.judged = not trial.trouble  # what could not be seen was not judged
    if trial.findings:
        trial.left = _left(record, state)
    if order.keep is not None:
        runner.keep(order.keep / "recovered")


def _beside_the_files(runner: Runner, record: Record, crash: Crash, files: Tree) -> list[str]:
    """Return what else makes these files another crash state.

    That is what was promised, what was visible half-written on the way, and what a program has noted in
    extended attributes.
    """
    several = []
    if crash.acks:
        several.append("\n".join(crash.acks))
    if crash.torn:
        several.append(repr(sorted(crash.torn)))
    if any(op.kind in ("setxattr", "removexattr", "setflags") for op in record.ops):
        several.append(runner.attributes(files))
    return several


def _is_known_to_recover(order: Order, trial: Trial) -> bool:
    """Tell whether these files were left before, by whatever fault, and a recovery did all that it must."""
    note = _note(order, trial)
    if note is None or not note.exists():
        return False
    trial.recovery = load(note)
    trial.story.append("recovered from before, after another fault")
    return True


def _recover_noting(
    runner: Runner, record: Record, order: Order, trial: Trial, state: Tree, crash: Crash
) -> None:
    """Recover, and note for other faults that it came out well."""
    before = len(trial.findings)
    _recover(runner, record, trial, state, crash, keep_ops=order.keep_states)
    if len(trial.findings) > before:
        _doubt(runner, record, trial)
    # What is to be told of a leftover depends on who left it, so only a recovery without one is noted.
    note = _note(order, trial)
    if note is not None and len(trial.findings) == before and not (trial.warnings or trial.trouble):
        save(note, trial.recovery)


def _doubt(runner: Runner, record: Record, trial: Trial) -> None:
    """Blame the pipeline for nothing that a full disk of ours may have done.

    Raises:
        BoxError: it is full.
    """
    # A pipeline that was told so by a fault may well repeat it.
    is_told = any(point.fault == "full" for point in trial.plan)
    try:
        runner.expect_room(record.final, *(() if is_told else (one.detail for one in trial.findings)))
    except BoxError:
        trial.findings.clear()
        trial.judged = False
        raise


def _note(order: Order, trial: Trial) -> Path | None:
    """Return where it is noted that a state recovers, with what its recovery does if that is wanted."""
    if order.clean is None:
        return None
    return order.clean / f"{trial.state}.{'ops' if order.keep_states else 'state'}"


def _left(record: Record, state: Tree) -> tuple[tuple[str, str], ...]:
    """List what a crash left, beside what the golden run leaves."""
    names = [path for path in sorted(state.keys() | record.final.keys()) if path not in (TMP, HOME)]
    several = []
    for path in names[:_NAMES]:
        here, golden = state.get(path), record.final.get(path)
        what = judge.described(here)
        if here != golden:
            what += "; the golden run leaves " + (
                "no such name" if golden is None else judge.described(golden)
            )
        several.append((path, what))
    return tuple(several)


def _recover(
    runner: Runner, record: Record, trial: Trial, state: Tree, crash: Crash, *, keep_ops: bool
) -> None:
    """Truths 2 to 4: run again with no fault, and compare what it leaves with the golden run's."""
    touched = Touched()

    def visit(op: Op, _number: int) -> Answer:
        touched.note(op)
        if keep_ops and is_first:  # a deeper crash strikes the first start after this one
            trial.recovery.append(op)
        return GO

    is_first = True
    for attempt in range(1, record.subject.restarts + 1):
        trial.story.append("run again with no fault" if attempt == 1 else f"run again, restart {attempt}")
        is_first = attempt == 1
        ran = runner.run(
            record.subject,
            timeout=record.limit,
            visit=None if record.refused else visit,
            places=keep_ops,
            syncs=False,
        )
        if not ran.failure():
            break
    trial.redone = ran.ops
    if not record.refused and (hindered := ran.hindered()):
        trial.trouble = f"the recovery {hindered}"
        return
    if ran.failure():
        kind = "recovery-hung" if ran.ended == "timeout" else "recovery-failed"
        sentence = f"the pipeline, run again after the crash, {ran.failure()}"
        trial.findings.append(Finding(kind, "", sentence, ran.told))
        return
    if keep_ops and unseen(record, ran):  # which a deeper crash would have to strike
        trial.trouble = unseen(record, ran)
    after = runner.look(record.subject)
    _compare(runner, record, trial, after, _Left(state, crash.touched, touched, known=not record.refused))
    if not record.subject.check_takes_acks:
        trial.findings += lost_acks(record.subject, after, runner.box, crash.acks)
    if record.subject.check:
        told = runner.check(record.subject, trial.acks)
        trial.findings += told.findings(record.value, takes_acks=record.subject.check_takes_acks)


@dataclass(frozen=True, slots=True)
class _Left:
    """What tells a leftover of the crash from an output too many."""

    state: Tree
    crashed: Touched
    recovered: Touched
    known: bool

    def by_crash(self, path: str, after: Tree) -> bool:
        """Tell whether the crash cut a file off: it was never installed, and never touched again."""
        if not self.known:
            return self.state.get(path) == after[path]
        return path in self.state and not self.crashed.has_installed(path) and not self.recovered.made(path)


def _compare(runner: Runner, record: Record, trial: Trial, after: Tree, left: _Left) -> None:
    subject, golden_box = record.subject, record.place / "golden"
    for path in judge.differing(record.final, after, subject.is_output):
        is_gone = path not in after
        sentence = f"after recovery {path} {'is missing' if is_gone else 'is not what the golden run wrote'}"
        detail = judge.describe_difference(path, record.final, after, golden_box, runner.box)
        trial.findings.append(Finding("diverged", path, sentence, detail))
    trial.findings += _behind_links(runner, record, after, {finding.path for finding in trial.findings}, left)
    golden_names = {record.fold(path) for path in record.final}
    for path in judge.surplus(record.final, after):
        if record.fold(path) in golden_names or is_of_interpreter(path, after[path]):
            continue
        if subject.is_output(path) and not left.by_crash(path, after):
            sentence = f"after recovery there is an output that the golden run does not leave: {path}"
            trial.findings.append(Finding("diverged", path, sentence))
        else:
            fails = subject.litter == "fail" and path.split("/", 1)[0] not in (TMP, HOME)
            where = trial.findings if fails else trial.warnings
            where.append(Finding("litter", record.fold(path), f"{path} is left behind by the crash"))


def _behind_links(runner: Runner, record: Record, after: Tree, told: set[str], left: _Left) -> list[Finding]:
    """Compare what readers find through links with what they find after the golden run."""
    is_output, box, golden_box = record.subject.is_output, runner.box, record.place / "golden"
    golden, real = links.seen(record.final, is_output), links.through(after, is_output)
    here = {alias: after[path] for alias, path in real.items()}
    found = []
    for path in judge.differing(golden, here, is_output):
        if path not in told:
            what = "is not what the golden run wrote" if path in here else "is missing"
            detail = judge.describe_difference(path, golden, here, golden_box, box)
            found.append(Finding("diverged", path, f"after recovery {path}, through a link, {what}", detail))
    names = {record.fold(path) for path in golden.keys() | record.final.keys()}
    for path in judge.surplus(golden, here):
        if record.fold(path) not in names and not left.by_crash(real[path], after):
            sentence = f"after recovery there is an output that the golden run does not leave: {path}"
            found.append(Finding("diverged", path, f"{sentence} (through a link)"))
    return found
