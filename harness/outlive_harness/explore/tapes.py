"""Recordings of a run with all that it wrote: what the crash states of a power cut come from.

A power cut may lose what an earlier run wrote that a SIGKILL ended, as much as what its recovery did.
So a tape begins where everything was durable: at the box's first filling, or at the power cut before.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from outlive_harness.disk.blobs import Blobs, BlobsError
from outlive_harness.disk.model import Disk, UnmodelledError
from outlive_harness.disk.power import LostError, PowerModel, State
from outlive_harness.disk.tree import Tree, remove_tree
from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.intercept.versions import Versions
from outlive_harness.judge import describe_difference
from outlive_harness.plan import Plan, digest
from outlive_harness.trace import INSTALLS, Op

from .board import load, save
from .explained import unexplained
from .golden import Record
from .runner import Runner
from .strike import Crash, run_struck

#: Models that a worker keeps at hand.
_AT_HAND = 2
#: Recordings that are made until one shows what ops account for, and outputs of the last that are named.
_ATTEMPTS, _NAMED = 3, 5
#: Bytes of recorded data that are kept in memory; more than that goes to a file.
MEMORY = 64 << 20


@dataclass(slots=True)
class Tape:
    """What was recorded.

    Attributes:
        box: where the box was.
        initial: the files before all of it; they stay as they are.
        ops: what all runs since then did, with data.
        starts: where in the ops each run begins.
        acks: what was acknowledged, in all runs of the plan.
        said: how many of these before each op of the last run, and at its end.
        found: what the last run found, if it was itself a recovery.
        versions: whole contents that it made, by output path.
        unexplained: outputs of the first run that its ops do not account for.
        reason: why no power cut can be told from it; "" if it can.
    """

    box: bytes
    initial: Path
    ops: list[Op] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    acks: list[str] = field(default_factory=list)
    said: list[int] = field(default_factory=list)
    found: Tree | None = None
    versions: dict[str, set[str]] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)
    reason: str = ""

    @property
    def last(self) -> int:
        """How many ops belong to runs before the last."""
        return self.starts[-1]

    def promised(self, state: State) -> list[str]:
        """Return what was acknowledged before a power cut of the last run."""
        return self.acks[: self.said[state.at - self.last - (not state.returned)]]

    def until(self, state: State) -> int:
        """Return the last op after which no more was acknowledged than before a power cut of the last run."""
        return max(state.at, bisect_right(self.said, len(self.promised(state))) - 1 + self.last)

    def name(self, lost: str) -> str:
        """Say what a lost op, or a part of one, was to do."""
        return f"{lost} {self.ops[self._place(lost)].describe()}"

    def _place(self, lost: str) -> int:
        """Return where among the ops one is that was lost, or of which a part was."""
        run, slash, number = lost.rpartition("/")
        start = self.starts[int(run) - 1] if slash else self.last
        return start + int(number.partition(".")[0]) - 1

    def kept(self, lost: Sequence[str], at: int) -> list[str]:
        """Say what of the first *at* ops reached the disk although something before it was lost.

        That is what no process could see while the machine ran; what comes before is as it should be.
        """
        whole = {self._place(name) for name in lost if "." not in name}
        torn = {self._place(name) for name in lost} - whole
        found: list[str] = []
        moved: set[str] = set()  # what is kept of a file that gets another name is told by that
        for place in range(at - 1, min(whole | torn, default=at) - 1, -1):
            op = self.ops[place]
            if place in torn:
                found.append(f"a part of {self._number(place)} {op.describe()}")
            elif place not in whole and op.changes and op.path not in moved:
                found.append(f"{self._number(place)} {op.describe()}")
                moved |= {op.path} if op.kind in INSTALLS else set()
        return found[::-1]

    def _number(self, place: int) -> str:
        """Return an op as names of what was lost have it."""
        run = bisect_right(self.starts, place)
        number = place - self.starts[run - 1] + 1
        return str(number) if run == len(self.starts) else f"{run}/{number}"


class Recorded(NamedTuple):
    """A tape, and the model of what a power cut may leave of it; None where the tape has a reason."""

    tape: Tape
    model: PowerModel | None


def own_words(runner: Runner, acks: Sequence[str]) -> list[str]:
    """Return what was acknowledged, with the box of the worker that recorded it named as this runner's."""
    return [os.fsdecode(runner.own(os.fsencode(ack))) for ack in acks]


class Tapes:
    """One worker's recordings; they are kept where all workers find them.

    Args:
        runner: where runs are recorded.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self._at_hand: OrderedDict[Path, Recorded] = OrderedDict()

    def of(self, record: Record, plan: Plan, *, memory: int = MEMORY) -> Recorded:
        """Return the recording of the run that comes after the crashes of a plan, and all before it.

        Args:
            record: the golden run.
            plan: the crashes; none for the first run.
            memory: bytes of data that are kept in memory.

        Raises:
            BoxError: the box could not be filled, ...
        """
        place = self._place(record, plan)
        known = self._at_hand.get(place)
        if known is None:
            known = self._at_hand[place] = self._load(record, plan, place, memory)
            while len(self._at_hand) > _AT_HAND:
                self._at_hand.popitem(last=False)
        self._at_hand.move_to_end(place)
        return known

    def unexplained(self, record: Record, *, memory: int = MEMORY) -> str:
        """Say which output the ops of the golden run do not account for; "" if they account for all.

        Raises:
            BoxError: the box could not be filled, ...
        """
        for _ in range(_ATTEMPTS):
            tape = self.of(record, (), memory=memory).tape
            if not tape.unexplained:
                return ""
            self._forget(record, ())
        several = ", ".join(tape.unexplained[:_NAMED])
        more = len(tape.unexplained) - _NAMED
        several += f" and {more} more" if more > 0 else ""
        return (
            f"{several}: no op of the run accounts for what is there. A process outside of its tree "
            "(a service, a daemon?) changed it, and no fault can be injected there"
        )

    def _forget(self, record: Record, plan: Plan) -> None:
        """Let a recording be made anew when it is asked for next."""
        place = self._place(record, plan)
        self._at_hand.pop(place, None)
        remove_tree(place)

    def _place(self, record: Record, plan: Plan) -> Path:
        """Return where a recording is kept: one by exec is not the one from a zygote."""
        is_warm = record.preload is None or self.runner.is_warm(record.subject)
        return record.place / ("tapes" if is_warm else "tapes-exec") / digest(plan)

    def _load(self, record: Record, plan: Plan, place: Path, memory: int) -> Recorded:
        try:
            tape: Tape = load(place / "tape")
        except FileNotFoundError:
            place.mkdir(parents=True, exist_ok=True)
            tape = self._make(record, plan, place, memory)
            save(place / "tape", tape)
        tape.acks = own_words(self.runner, tape.acks)
        if tape.reason:
            return Recorded(tape, None)
        try:
            model = PowerModel(tape.initial, tape.ops, starts=tape.starts)
        except UnmodelledError as error:
            tape.reason = f"what a power cut leaves cannot be told: {error}"
            save(place / "tape", tape)
            return Recorded(tape, None)
        return Recorded(tape, model)

    # -- recording -----------------------------------------------------------------------------------

    def _make(self, record: Record, plan: Plan, place: Path, memory: int) -> Tape:
        """Run through a plan's crashes and on, from where all was durable, and record it."""
        tape = Tape(self.runner.box_bytes, record.place / "template")
        cuts = [number for number, point in enumerate(plan, start=1) if point.fault == "power"]
        if cuts:
            self._after_cut(record, plan[: cuts[-1]], tape, place)
        self.runner.fill(tape.initial)
        blobs = Blobs(memory, place)
        try:
            self._run(record, plan[cuts[-1] if cuts else 0 :], tape, blobs)
        except BlobsError as error:
            blobs.close()  # the disk is full: others need the room
            self.runner.empty()
            return Tape(tape.box, tape.initial, starts=[0], said=[0], reason=str(error))
        blobs.leave()
        return tape

    def _after_cut(self, record: Record, plan: Plan, tape: Tape, place: Path) -> None:
        """Begin with what an earlier power cut of the plan left."""
        earlier, state = self.cut(record, plan)
        tape.initial = place / "initial"
        remove_tree(tape.initial)
        tape.initial.mkdir()
        state.write_to(tape.initial)
        tape.acks += earlier.promised(state)

    def _run(self, record: Record, plan: Plan, tape: Tape, blobs: Blobs) -> None:
        runner, subject = self.runner, record.subject
        crash = Crash()
        for point in plan:
            tape.starts.append(len(tape.ops))
            crash.found = tape.found
            ran, is_struck = run_struck(runner, record, point, crash, tape=tape.ops, keeper=blobs)
            if not is_struck:
                tape.reason = f"{point} was not reached when recorded: the run {ran.failure() or 'ended'}"
                return
            tape.found = runner.look(subject)
            tape.reason = self._settle(record, tape)
            if tape.reason:
                return
        tape.acks += crash.acks
        tape.starts.append(len(tape.ops))
        versions = Versions(Path(os.path.realpath(runner.box)), record.is_shown, any_install=bool(plan))

        def visit(op: Op, _number: int) -> Answer:
            tape.ops.append(op)
            versions.before(op)
            return GO

        before = len(tape.acks)
        ran = runner.run(subject, timeout=record.limit, visit=visit, data=blobs)
        versions.settle(record.uncompared)
        tape.versions = versions.known
        tape.acks += ran.acks
        tape.said = [before + count for count in (*ran.said, len(ran.acks))]
        if not plan and not ran.failure():
            tape.unexplained = unexplained(
                tape.initial,
                tape.ops,
                runner.look(subject, whole=True),
                box=runner.box,
                mark=runner.box_bytes,
                is_output=record.is_shown,
            )
        tape.reason = self._objection(record, tape, ran.failure(), ran.blind)

    def _objection(self, record: Record, tape: Tape, failure: str, blind: Sequence[tuple[str, str]]) -> str:
        """Say why a recorded run is nothing to go by; "" if it is."""
        if failure:
            return f"the run that was recorded {failure}"
        for path, reason in blind:
            if not path or not record.subject.is_ignored(path):
                return f"what a power cut leaves cannot be told: {reason}"
        return self._difference(record, tape)

    def _settle(self, record: Record, tape: Tape) -> str:
        """Compare what a struck run did with what it left; the op that it was ended in may not have run."""
        reason = self._difference(record, tape)
        if reason and tape.ops:
            last = tape.ops.pop()
            if self._difference(record, tape):
                tape.ops.append(last)
            else:
                reason = ""
        return reason

    def _difference(self, record: Record, tape: Tape) -> str:
        """Compare the model's files with the real ones; what it mistakes it cannot lose."""
        runner, subject = self.runner, record.subject
        disk = Disk.load(tape.initial)
        try:
            for op in tape.ops:
                disk.apply(op)
        except UnmodelledError as error:
            return f"what a power cut leaves cannot be told: {error}"
        expected = {
            path: entry for path, entry in disk.tree(tape.box).items() if not subject.is_ignored(path)
        }
        real = runner.look(subject)
        paths = sorted(path for path in expected.keys() | real.keys() if expected.get(path) != real.get(path))
        if not paths:
            return ""
        detail = describe_difference(paths[0], expected, real, Path(os.devnull), runner.box)
        return (
            f"the model of the disk mistakes {paths[0]}: what the run did to it was not all seen\n"
            + detail.replace("golden:", "model: ")
        )

    # -- crash states --------------------------------------------------------------------------------

    def cut(self, record: Record, plan: Plan, *, memory: int = MEMORY) -> tuple[Tape, State]:
        """Return what the power cut that a plan ends with leaves, and the tape that it is on.

        Raises:
            NoStateError: there is no such state.
            TapeError: there is no recording to tell it from.
            BoxError: the box could not be filled, ...
        """
        point = plan[-1]
        tape, model = self.of(record, plan[:-1], memory=memory)
        if model is None:
            raise TapeError(tape.reason)
        if point.at > len(tape.ops) - tape.last:
            raise NoStateError(f"{point}: the run makes only {len(tape.ops) - tape.last} ops")
        try:
            return tape, model.find(tape.last + point.at, point.lost)
        except LostError as error:
            raise NoStateError(f"{point}: {error}") from error

    def strongest(self, record: Record, plan: Plan, state: State, least: str) -> tuple[str, str]:
        """Return the name of the profile that promises most and still admits a state, and on what it rests.

        Args:
            record: the golden run.
            plan: the crashes; the last power cut among them left the state.
            state: found after one op, it may be left after a later one, too, where no more was promised.
            least: the profile that promises least of those that are asked.
        """
        cut = max(number for number, point in enumerate(plan) if point.fault == "power")
        tape, model = self.of(record, plan[:cut])
        assert model is not None
        return model.strongest(state, tape.until(state), least)

    def is_of(self, record: Record, plan: Plan, profile: str) -> bool:
        """Tell whether a disk with a profile leaves what each power cut of a plan is to leave.

        Raises:
            TapeError, BoxError: as cut().
        """
        for number, point in enumerate(plan):
            if point.fault == "power":
                tape, state = self.cut(record, plan[: number + 1])
                model = self.of(record, plan[:number]).model
                if model is not None and not model.under(profile).leaves(state, tape.until(state)):
                    return False
        return True


class TapeError(RuntimeError):
    """A power cut that cannot be carried out; the message says why."""


class NoStateError(TapeError):
    """A power cut that no disk leaves of this run; one that was named by an earlier run, perhaps."""
