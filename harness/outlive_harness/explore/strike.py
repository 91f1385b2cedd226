"""A run that a fault strikes, and what is seen of it on the way."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from outlive_harness import judge
from outlive_harness.disk.power import State
from outlive_harness.disk.tree import Tree
from outlive_harness.explore import links
from outlive_harness.explore.golden import Record
from outlive_harness.explore.held_open import held_open
from outlive_harness.explore.results import Finding
from outlive_harness.explore.runner import BoxError, Runner, Touched
from outlive_harness.faults import Strike, strikers
from outlive_harness.faults import torn as torn_write
from outlive_harness.intercept.lookup import Keeper
from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.intercept.versions import Versions
from outlive_harness.launch.run import Ran
from outlive_harness.plan import Point
from outlive_harness.trace import INSTALLS, WRITES, Content, Op


@dataclass(slots=True)
class Crash:
    """What is known of the runs that were struck.

    Attributes:
        op: what the last of them was about to do when it was struck.
        touched: the paths that all of them made.
        found: what the last of them found, if it was itself a recovery.
        versions: whole contents that the last one made, by output path, where the golden runs' own may
            differ.
        acks: what all of them acknowledged.
        torn: what was visible half-written while a run went on after the strike, by path.
        state: what a power cut left, if it was one.
        went_on: whether the last of them went on after the strike.
        unseen: why it is not known what was visible meanwhile; "" if it is.
        rests_on: what the runs rest on that were struck: see Trial.
    """

    op: Op | None = None
    touched: Touched = field(default_factory=Touched)
    found: Tree | None = None
    versions: dict[str, set[str]] | None = None
    torn: dict[str, Finding] = field(default_factory=dict)
    acks: list[str] = field(default_factory=list)
    state: State | None = None
    went_on: bool = False
    unseen: str = ""
    rests_on: str = ""


def unseen(record: Record, ran: Ran) -> str:
    """Say why it is not known what a run did to an output, where the golden run did nothing like it."""
    known = set(record.trace.blind)
    news = [reason for path, reason in ran.blind if (path, reason) not in known and _matters(record, path)]
    return news[0] if news else ""


def _matters(record: Record, path: str) -> bool:
    return not path or record.is_shown(path)


def run_struck(
    runner: Runner,
    record: Record,
    point: Point,
    crash: Crash,
    *,
    tape: list[Op] | None = None,
    keeper: Keeper | None = None,
) -> tuple[Ran, bool]:
    """Run until the fault strikes, or on from there; return the run and whether it was struck.

    With a tape, what the run did is put on it, and the data with the keeper.
    """
    strike = strikers()[point.fault].strike(point, runner.box)
    if strike.answer is None:
        ran = runner.run(record.subject, timeout=record.limit, kill_after=strike.after_seconds)
        crash.acks += ran.acks
        return ran, ran.ended == "crashed"
    watcher = _Watcher(runner, record, strike, crash, tape)
    ran = runner.run(
        record.subject,
        timeout=record.limit,
        visit=watcher.visit,
        tear=strike.tear,
        syncs=keeper is not None,
        grace=strike.grace,
        data=keeper or False,
        places=keeper is not None or strike.tear is not None,
    )
    crash.acks += ran.acks
    crash.rests_on = crash.rests_on or cut_short(point, crash.op)
    crash.went_on = strike.goes_on
    if strike.goes_on and watcher.is_struck:
        crash.unseen = unseen(record, ran)
    if ran.refused:
        crash.unseen = f"the run {ran.failure()}"
    return ran, watcher.is_struck


def cut_short(point: Point, op: Op | None) -> str:
    """Say what a torn write rests on, where no kill leaves it; "" for anything else."""
    is_short = (
        point.fault == "torn" and op is not None and op.kind in WRITES and torn_write.is_short(op, point.part)
    )
    return torn_write.SHORT_WRITE if is_short else ""


class _Watcher:
    """Answers the ops of one run as its strike says, and looks at what they are about."""

    def __init__(
        self, runner: Runner, record: Record, strike: Strike, crash: Crash, tape: list[Op] | None
    ) -> None:
        assert strike.answer is not None
        self._answer = strike.answer
        self._goes_on = strike.goes_on
        self._tear = strike.tear
        self._tape = tape
        self._versions: Versions | None = None
        self._runner, self._record, self._crash = runner, record, crash
        self._to_look = False
        self._cut: set[str] = set()  # files of which a write failed, or was cut short
        self.is_struck = False
        if record.varying or record.uncompared or crash.found is not None or strike.goes_on:
            box = Path(os.path.realpath(runner.box))
            self._versions = Versions(box, record.is_shown, any_install=True)
            crash.versions = self._versions.known

    def visit(self, op: Op, number: int) -> Answer:
        """Answer one op."""
        crash = self._crash
        if self._to_look:
            self._look()
        answer = self._answer(op, number)
        if answer != GO and not self.is_struck:
            self.is_struck = True
            crash.op = op
        if answer.crash and self._tape is not None and self._tear:
            self._tape.append(_torn_op(op, self._tear))
        if answer.errno or answer.part:
            self._cut.add(op.path)
        if answer.crash and self._versions is not None:
            self._versions.settle(self._record.uncompared)
        if answer.crash or answer.errno:
            return answer
        if self._tape is not None:
            self._tape.append(_torn_op(op, answer.part) if answer.part else op)
        crash.touched.note(op)
        if self._versions is not None and not self._installs_cut(op):
            self._versions.before(op)
        if self.is_struck and self._goes_on:
            is_shown = self._record.is_shown
            self._to_look = is_shown(op.path) or is_shown(op.target) or op.kind in ("rename", "symlink")
        return answer

    def _installs_cut(self, op: Op) -> bool:
        """Tell whether an op gives a name to a file of which a write has failed: its content is not whole."""
        if op.kind == "unlink" or (op.kind == "open" and op.flags & (os.O_TRUNC | os.O_EXCL)):
            self._cut.discard(op.path)
        return op.kind in INSTALLS and op.path in self._cut

    def _look(self) -> None:
        """Judge what a reader would see now, after the op before this one."""
        try:
            state = self._runner.look(self._record.subject)
        except BoxError:  # another process renamed or removed a file meanwhile: look at the next op
            return
        self._to_look = False
        for finding in torn(self._runner, self._record, state, self._crash):
            self._crash.torn.setdefault(finding.path, finding)


def _torn_op(op: Op, length: int) -> Op:
    """Return what of a write still reaches its file."""
    data = op.content
    return replace(op, length=length, data=None if data is None else _bytes(data, length))


def _bytes(data: Content | bytes, length: int) -> bytes:
    return data[:length] if isinstance(data, bytes) else data.read(0, length)


def torn(runner: Runner, record: Record, state: Tree, crash: Crash) -> list[Finding]:
    """Truth 1, on what stands in the box now."""
    known = record.versions
    if crash.versions is not None:
        # Where whole contents depend on who came first, on what a recovery found, or on an error that is
        # handled, what this very run made whole counts too. What it found is judged after the crash before.
        own = {path: crash.versions.get(path, set()) for path in record.varying | record.uncompared.keys()}
        if crash.found is not None or crash.went_on:
            own |= {path: crash.versions.get(path, set()) for path in known}
        if crash.found is not None:
            for path in known.keys() & crash.found.keys():
                own[path] = own[path] | {crash.found[path].digest}
        known = {**known, **{path: known.get(path, set()) | own[path] for path in own}}
    subject, golden_box = record.subject, record.place / "golden"
    visible, golden, whole = _visible(runner, record, state, known, crash)
    found = judge.torn_outputs(
        visible,
        golden,
        whole,
        is_output=whole.__contains__,
        is_append_only=subject.is_append_only,
        box=runner.box,
        golden_box=golden_box,
        initial_box=record.place / "template",
        own=runner.own,
    )
    if record.refused:
        # Whole contents that were replaced later are not known; a strict prefix is torn all the same.
        found = [one for one in found if _is_prefix(runner.box / one[0], golden_box / one[0])]
    return [_torn(record, *one) for one in found]


def _torn(record: Record, path: str, sentence: str, detail: str) -> Finding:
    """Say of a file that is kept open on purpose that it is, and what to declare then."""
    held = held_open(record.ops, path)
    if held is not None:
        sentence, detail = f"{sentence}; the program keeps it open", f"{detail}\n{held.advice}"
    return Finding("torn-output", path, sentence, detail)


def _visible(
    runner: Runner, record: Record, state: Tree, known: Mapping[str, set[str]], crash: Crash
) -> tuple[Tree, Tree, dict[str, set[str]]]:
    """Return what readers may see now and in the end, and which contents are whole, by the paths they use."""
    is_output = record.subject.is_output
    aliases = links.through(state, is_output)
    visible = {**state, **{alias: state[path] for alias, path in aliases.items()}}
    golden = {**record.final, **links.seen(record.final, is_output)}
    whole = {path: digests for path, digests in known.items() if is_output(path)}
    whole |= {alias: known.get(path, set()) for alias, path in aliases.items()}
    if record.uncompared and crash.versions is not None:
        ignored = runner.look(record.subject, whole=True)
        golden |= record.uncompared
        for path in record.uncompared.keys() & ignored.keys():
            visible[path] = ignored[path]
            whole[path] = known.get(path, set())
    return visible, golden, whole


def _is_prefix(part: Path, whole: Path) -> bool:
    return whole.is_file() and whole.read_bytes().startswith(part.read_bytes())
