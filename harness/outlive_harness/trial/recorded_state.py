"""Crash states that are taken from a recording: of a kill, of a torn write, and of a power cut."""

from __future__ import annotations

from dataclasses import dataclass

from outlive_harness.disk.power import State
from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.record import Record
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import Plan, Point
from outlive_harness.world.runner import Runner

from .crash import Crash
from .inject import rests_on
from .recording import Recording
from .recordings import Recordings


@dataclass(frozen=True, slots=True)
class RecordedState:
    """A crash state of a recording, which is not in a box yet.

    Attributes:
        recording: the recording.
        state: the files, before a write is torn.
        op: the op that the crash is at.
        torn: the number of bytes of that op that reach its file besides; 0 for none.
        rests_on: the rare condition that it needs: see Fault.rests_on().
        is_cut: whether the power was cut.
    """

    recording: Recording
    state: State
    op: Op
    torn: int = 0
    rests_on: str = ""
    is_cut: bool = False

    @property
    def lost(self) -> list[str]:
        """What a power cut lost, in words."""
        return [self.recording.name(name) for name in self.state.lost]

    @property
    def stayed(self) -> list[str]:
        """What a power cut kept though something earlier was lost, in words."""
        return self.recording.kept(self.state.lost, self.state.at)

    @property
    def said(self) -> int:
        """How much was acknowledged before it."""
        return len(self._acks())

    def _acks(self) -> list[str]:
        recording, state = self.recording, self.state
        return recording.promised(state) if self.is_cut else recording.acks[: recording.said[state.at]]

    def lay_out(self, runner: Runner) -> Crash | None:
        """Put the files into a runner's box; return None if the data of a torn write is unknown.

        Raises:
            BoxError: the disk is full, recorded data cannot be read, ...
        """
        recording, state = self.recording, self.state
        if not runner.box.lay_out(state, torn=(self.op, self.torn) if self.torn else None):
            return None
        crash = Crash(
            self.op,
            versions=recording.versions,
            acks=self._acks(),
            found=recording.found if self.is_cut else None,
            state=state if self.is_cut else None,
            rests_on=self.rests_on,
        )
        for done in recording.ops[: state.at]:
            crash.touched.note(done)
        return crash


def recorded_state(recordings: Recordings, record: Record, point: Point, memory: int) -> RecordedState | None:
    """Return the state that a kill, or a torn write, leaves; None if the recording cannot tell.

    Raises:
        BoxError: the box could not be filled for a recording, ...
    """
    recording, model = recordings.of(record, (), memory=memory)
    if model is None or point.at > min(len(recording.ops), len(record.ops)):
        return None
    op, planned = recording.ops[point.at - 1], record.ops[point.at - 1]
    is_it = (op.kind, record.fold(op.path), op.offset, op.begin, op.length) == (
        planned.kind,
        record.fold(planned.path),
        planned.offset,
        planned.begin,
        planned.length,
    )
    if not is_it:
        return None
    part = point.part if FAULTS[point.fault].part == "bytes" else 0
    return RecordedState(recording, model.state(point.at - 1), op, part, rests_on(point, op))


def state_after_cut(recordings: Recordings, record: Record, plan: Plan, memory: int) -> RecordedState:
    """Return the state that the power cut at the end of a plan leaves.

    Raises:
        NoStateError, RecordingError, BoxError: as Recordings.cut().
    """
    recording, state = recordings.cut(record, plan, memory=memory)
    return RecordedState(recording, state, recording.ops[state.at - 1], is_cut=True)
