"""Recordings of runs with all data that they wrote, from which the crash states of power cuts are made.

A power cut during a recovery may also lose what the killed run before it wrote. So a recording begins where
everything was durable: at the first filling of the box, or at the last power cut.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from outlive_harness.disk.blobs import Blobs, BlobsError
from outlive_harness.disk.model import UnmodelledError
from outlive_harness.disk.power import LostError, PowerModel, State
from outlive_harness.disk.removal import remove_tree
from outlive_harness.disk.tree import Tree
from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.explained import Replayed, replayed, unexplained
from outlive_harness.golden.record import Record
from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.intercept.versions import Versions
from outlive_harness.jobs.queue import load, save
from outlive_harness.jobs.shared import alone
from outlive_harness.judge.trees import describe_difference
from outlive_harness.launch.options import RunOptions
from outlive_harness.launch.run import FinishedRun
from outlive_harness.results.ops import Op
from outlive_harness.results.options import MEMORY
from outlive_harness.results.plan import Plan, digest
from outlive_harness.world.runner import Runner

from .crash import Crash
from .inject import Recorder, run_with_fault
from .recording import Recorded, Recording, with_own_box

#: Models that a worker keeps in memory.
_LOADED = 2
#: Attempts to make a recording whose ops account for its outputs, and how many outputs a message names.
_ATTEMPTS, _NAMED = 3, 5
#: The file of a recording in its directory.
_FILE = "recording"


class Recordings:
    """One worker's access to the recordings, which all workers share.

    Args:
        runner: runs the pipelines that are recorded.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self._loaded: OrderedDict[Path, Recorded] = OrderedDict()

    def of(self, record: Record, plan: Plan, *, memory: int = MEMORY) -> Recorded:
        """Return the recording of the run after a plan's crashes, and of the runs before it.

        Args:
            record: the golden run.
            plan: the crashes; none for the first run.
            memory: bytes of data that are kept in memory.

        Raises:
            BoxError: the box could not be filled, ...
        """
        place = self._place(record, plan)
        known = self._loaded.get(place)
        if known is None:
            known = self._loaded[place] = self._load(record, plan, place, memory)
            while len(self._loaded) > _LOADED:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(place)
        return known

    def hold(self, record: Record, recording: Recording) -> bool:
        """Use a recording of the first run that is in memory only; return whether the model knows its ops.

        Args:
            record: the golden run.
            recording: the recording.
        """
        found = self._loaded[self._place(record, ())] = _modelled(recording)
        return found.model is not None

    def unexplained(self, record: Record, *, memory: int = MEMORY) -> str:
        """Return the outputs that no op of the golden run accounts for, in words; "" if there are none.

        Raises:
            BoxError: the box could not be filled, ...
        """
        for _ in range(_ATTEMPTS):
            recording = self.of(record, (), memory=memory).recording
            if not recording.unexplained:
                return ""
            self._forget(record, ())
        several = ", ".join(recording.unexplained[:_NAMED])
        more = len(recording.unexplained) - _NAMED
        several += f" and {more} more" if more > 0 else ""
        return (
            f"{several}: no op of the run accounts for what is there. A process outside its tree "
            "(a service, a daemon?) changed it, and no fault can be injected there: let the command start it"
        )

    def _forget(self, record: Record, plan: Plan) -> None:
        """Remove a recording, so that the next request makes it anew."""
        place = self._place(record, plan)
        self._loaded.pop(place, None)
        remove_tree(place)

    def _place(self, record: Record, plan: Plan) -> Path:
        """Return the directory of a recording; one by exec and one from a zygote differ."""
        is_warm = record.preload is None or self.runner.is_warm(record.spec)
        return record.recordings(by_exec=not is_warm) / digest(plan)

    def _load(self, record: Record, plan: Plan, place: Path, memory: int) -> Recorded:
        try:
            recording: Recording = load(place / _FILE)
        except FileNotFoundError:
            place.mkdir(parents=True, exist_ok=True)
            with alone(place):  # it makes files there
                if (place / _FILE).exists():
                    recording = load(place / _FILE)
                else:
                    recording = self._make(record, plan, place, memory)
                    save(place / _FILE, recording)
        recording.acks = with_own_box(self.runner, recording.acks)
        if recording.reason:
            return Recorded(recording, None)
        found = _modelled(recording)
        if found.model is None:
            save(place / _FILE, recording)
        return found

    # -- recording -----------------------------------------------------------------------------------

    def room(self, record: Record, memory: int) -> Blobs:
        """Return what takes the data of a run that is to be kept."""
        place = self._place(record, ())
        place.mkdir(parents=True, exist_ok=True)
        return Blobs(memory, place)

    def keep(
        self, record: Record, ops: Sequence[Op], ran: FinishedRun, versions: Versions, left: Tree
    ) -> None:
        """Keep a run from scratch, which succeeded, as the recording of the first run.

        Args:
            record: the golden run.
            ops: the ops of the run, with their data.
            ran: the run.
            versions: the whole contents that it made.
            left: the files that it left, with the ignored ones; they must still be in the box.
        """
        recording = Recording(self.runner.box.bytes, record.template, list(ops), [0])
        self._note(record, recording, ran, versions)
        self._compare(record, recording, left, is_first=True)
        place = self._place(record, ())
        place.mkdir(parents=True, exist_ok=True)
        save(place / _FILE, recording)

    def _make(self, record: Record, plan: Plan, place: Path, memory: int) -> Recording:
        """Record the runs of a plan, from the last moment at which everything was durable."""
        recording = Recording(self.runner.box.bytes, record.template)
        cuts = [
            number for number, point in enumerate(plan, start=1) if FAULTS[point.fault].cuts_power == "model"
        ]
        if cuts:
            self._after_cut(record, plan[: cuts[-1]], recording, place)
        self.runner.box.fill(recording.initial)
        blobs = Blobs(memory, place)
        try:
            self._run(record, plan[cuts[-1] if cuts else 0 :], recording, blobs)
        except BlobsError as error:
            blobs.close()  # the disk is full, and other workers need the room
            self.runner.box.empty()
            return Recording(recording.box, recording.initial, starts=[0], said=[0], reason=str(error))
        blobs.leave()
        return recording

    def _after_cut(self, record: Record, plan: Plan, recording: Recording, place: Path) -> None:
        """Begin a recording with the files that an earlier power cut of the plan left."""
        earlier, state = self.cut(record, plan)
        recording.initial = place / "initial"
        remove_tree(recording.initial)
        recording.initial.mkdir()
        state.write_to(recording.initial)
        recording.acks += earlier.promised(state)

    def _run(self, record: Record, plan: Plan, recording: Recording, blobs: Blobs) -> None:
        runner, spec = self.runner, record.spec
        crash = Crash()
        for point in plan:
            recording.starts.append(len(recording.ops))
            crash.found = recording.found
            ran, is_injected = run_with_fault(runner, record, point, crash, Recorder(recording.ops, blobs))
            if not is_injected:
                recording.reason = (
                    f"{point} was not reached when recorded: the run {ran.failure() or 'ended'}"
                )
                return
            found = runner.box.look(spec)
            recording.found = runner.valued(spec, found)
            recording.reason = self._settle(record, recording, found)
            if recording.reason:
                return
        recording.acks += crash.acks
        recording.starts.append(len(recording.ops))
        versions = Versions(
            Path(os.path.realpath(runner.box.path)),
            record.is_shown,
            digest=runner.digest_of(spec),
            any_install=bool(plan),
        )

        def visit(op: Op, _number: int) -> Answer:
            recording.ops.append(op)
            versions.before(op)
            return GO

        ran = runner.run(spec, RunOptions(timeout=record.limit, visit=visit, data=blobs))
        self._note(record, recording, ran, versions)
        if not (ran.failure() or (plan and recording.reason)):
            left = runner.box.look(spec, whole=not plan)
            self._compare(record, recording, left, is_first=not plan)

    def _note(self, record: Record, recording: Recording, ran: FinishedRun, versions: Versions) -> None:
        """Note what the last run made and acknowledged, and whether it can be used."""
        before = len(recording.acks)
        versions.settle(record.uncompared)
        recording.versions = {path: found for path, found in versions.known.items() if record.is_shown(path)}
        recording.acks += ran.acks
        recording.said = [before + count for count in (*ran.said, len(ran.acks))]
        recording.reason = _objection(record, ran)

    def _compare(self, record: Record, recording: Recording, left: Tree, *, is_first: bool) -> None:
        """Note whether the ops of the last run account for the files that it left in the box."""
        model = replayed(recording.initial, recording.ops, recording.box)
        if is_first:
            recording.unexplained = unexplained(
                model, recording.ops, left, box=self.runner.box.path, is_output=record.is_shown
            )
            left = record.compared(left)
        recording.reason = recording.reason or self._difference(record, model, left)

    def _settle(self, record: Record, recording: Recording, real: Tree) -> str:
        """Compare the ops of a run that a fault ended with its files; the last op may not have run."""
        reason = self._difference(record, replayed(recording.initial, recording.ops, recording.box), real)
        if reason and recording.ops:
            fewer = recording.ops[:-1]
            if not self._difference(record, replayed(recording.initial, fewer, recording.box), real):
                recording.ops.pop()
                reason = ""
        return reason

    def _difference(self, record: Record, model: Replayed, real: Tree) -> str:
        """Return how the model's files differ from the real ones, in words; "" if they are equal."""
        if model.why:
            return f"what a power cut leaves is unknown: {model.why}"
        expected = record.compared(model.tree)
        paths = sorted(path for path in expected.keys() | real.keys() if expected.get(path) != real.get(path))
        if not paths:
            return ""
        detail = describe_difference(paths[0], expected, real, Path(os.devnull), self.runner.box.path)
        return (
            f"the model of the disk has {paths[0]} wrong: not all of the run's ops on it were seen\n"
            + detail.replace("golden:", "model: ")
        )

    # -- crash states --------------------------------------------------------------------------------

    def cut(self, record: Record, plan: Plan, *, memory: int = MEMORY) -> tuple[Recording, State]:
        """Return the recording of a plan's last run, and the state that the power cut at its end leaves.

        Raises:
            NoStateError: there is no such state.
            RecordingError: there is no usable recording.
            BoxError: the box could not be filled, ...
        """
        point = plan[-1]
        recording, model = self.of(record, plan[:-1], memory=memory)
        if model is None:
            raise RecordingError(recording.reason)
        if point.at > len(recording.ops) - recording.last:
            raise NoStateError(f"{point}: the run makes only {len(recording.ops) - recording.last} ops")
        try:
            return recording, model.find(recording.last + point.at, point.lost)
        except LostError as error:
            raise NoStateError(f"{point}: {error}") from error

    def strongest(self, record: Record, plan: Plan, state: State, least: str) -> tuple[str, str]:
        """Return the strongest profile that still admits a state, and the rare condition that it needs.

        Args:
            record: the golden run.
            plan: the crashes; the last power cut among them left the state.
            state: the state; a later op may leave it too, as long as nothing more was acknowledged.
            least: the weakest profile that is considered.
        """
        cut = max(number for number, point in enumerate(plan) if FAULTS[point.fault].cuts_power == "model")
        recording, model = self.of(record, plan[:cut])
        assert model is not None
        return model.strongest(state, recording.until(state), least)

    def admits(self, record: Record, plan: Plan, profile: str) -> bool:
        """Return whether a disk with a profile can leave the states of all power cuts of a plan.

        Raises:
            RecordingError, BoxError: as cut().
        """
        for number, point in enumerate(plan):
            if FAULTS[point.fault].cuts_power == "model":
                recording, state = self.cut(record, plan[: number + 1])
                model = self.of(record, plan[:number]).model
                if model is not None and not model.under(profile).leaves(state, recording.until(state)):
                    return False
        return True


def _modelled(recording: Recording) -> Recorded:
    """Return a recording with the model of what a power cut may leave, or the reason why there is none."""
    try:
        model = PowerModel(recording.initial, recording.ops, starts=recording.starts)
    except UnmodelledError as error:
        recording.reason = f"what a power cut leaves is unknown: {error}"
        return Recorded(recording, None)
    return Recorded(recording, model)


def _objection(record: Record, ran: FinishedRun) -> str:
    """Return why a recorded run cannot be used, whatever it left; "" if it can."""
    if ran.failure():
        return f"the run that was recorded {ran.failure()}"
    for path, reason in ran.blind:
        if not path or not record.spec.is_ignored(path):
            return f"what a power cut leaves is unknown: {reason}"
    return ""


class RecordingError(RuntimeError):
    """A power cut that cannot be carried out; the message gives the reason."""


class NoStateError(RecordingError):
    """A state that no disk leaves after this run; it may be of an earlier version of the pipeline."""
