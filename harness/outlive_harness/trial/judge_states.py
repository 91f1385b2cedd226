"""Crash states judged from the recording alone, before any recovery is run: truth 1 only.

What a kill, a torn write or a power cut leaves follows from the recorded ops. So a partial output is seen
within the time of one run, however long a trial takes. Whether the pipeline recovers is another question.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from outlive_harness.disk.tree import Linked, Tree, tree_digest
from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.marks import mark_of
from outlive_harness.golden.record import Record
from outlive_harness.jobs.tasks import Task
from outlive_harness.results.findings import Finding
from outlive_harness.results.options import MEMORY
from outlive_harness.results.plan import Plan, size
from outlive_harness.results.trials import Outcome, Trial
from outlive_harness.world.box import BoxError

from .bench import Bench
from .crash_check import crash_check
from .partial import partial_outputs
from .recorded_state import RecordedState, recorded_state, state_after_cut
from .recordings import RecordingError, Recordings
from .trial import names_left

#: What is wrong with a state: (kind, folded path).
Wrong = frozenset[tuple[str, str]]


@dataclass(slots=True)
class JudgedStates:
    """What a recording tells about crash states.

    Attributes:
        states: a digest of the files that each plan leaves; a plan that the recording cannot tell is left
            out.
        wrong: what is wrong with the states of some plans.
        examples: for each thing that is wrong, the smallest plan that shows it.
    """

    states: dict[Plan, str] = field(default_factory=dict)
    wrong: dict[Plan, Wrong] = field(default_factory=dict)
    examples: list[Trial] = field(default_factory=list)

    def add(self, more: JudgedStates) -> None:
        """Add what was found elsewhere; keep one example, the smallest plan, for each thing that is wrong."""
        shown = frozenset().union(*(self.wrong[trial.plan] for trial in self.examples))
        self.states |= more.states
        self.wrong |= more.wrong
        self.examples += [trial for trial in more.examples if not more.wrong[trial.plan] <= shown]


def can_be_judged(fault: str) -> bool:
    """Return whether the crash states of a fault's points can be taken from a recording."""
    one = FAULTS[fault]
    return one.cuts_power == "model" or (one.follows_from_ops and one.stops_run)


@dataclass(frozen=True, slots=True)
class JudgeStates(Task[JudgedStates]):
    """Judges the crash states of plans of one crash each, without running the pipeline.

    Attributes:
        place: the record's directory.
        plans: the plans.
        profile: the disk's profile.
        memory: bytes of recorded data that are kept in memory.
    """

    place: Path
    plans: tuple[Plan, ...]
    profile: str = "posix"
    memory: int = MEMORY

    def run(self, bench: Bench) -> JudgedStates:
        """Judge the states; a plan that cannot be judged is left out, and its trial reports why."""
        record = bench.record(self.place)
        bench.runner.choose_start(record.spec, record.preload)
        return judge(bench.recordings, record, self)

    def lost(self, _why: str) -> JudgedStates:
        """Return nothing: the trials judge the states."""
        return JudgedStates()


def judge(recordings: Recordings, record: Record, task: JudgeStates) -> JudgedStates:
    """Judge the states of a task's plans, as a golden run's record knows the outputs."""
    return _Judge(recordings, record, task).judged()


class _Judge:
    """Judges the states of one task; states with equal outputs once."""

    def __init__(self, recordings: Recordings, record: Record, task: JudgeStates) -> None:
        self._recordings, self._record, self._task = recordings, record, task
        self._known: dict[tuple[str, str], tuple[list[Finding], Tree]] = {}

    def judged(self) -> JudgedStates:
        """Judge the states, and describe the smallest plan for each thing that is wrong."""
        record, found = self._record, JudgedStates()
        findings: dict[Plan, tuple[list[Finding], Tree]] = {}
        for plan, one in self._told():
            try:
                here = self._partial(one)
            except (BoxError, OSError):  # the trial meets the same error, and reports it
                self._recordings.runner.box.empty()
                continue
            if here is None:
                continue
            found.states[plan] = f"{one.state.digest}{_torn(one)}"
            if here[0]:
                findings[plan] = here
                found.wrong[plan] = frozenset((each.kind, record.fold(each.path)) for each in here[0])
        shown: set[tuple[str, str]] = set()
        for plan in sorted(found.wrong, key=size):
            if not found.wrong[plan] <= shown:
                shown |= found.wrong[plan]
                found.examples.append(self._example(plan, *findings[plan]))
        return found

    def _told(self) -> Iterator[tuple[Plan, RecordedState]]:
        """Yield the plans whose states the recording tells."""
        for plan in self._task.plans:
            try:
                one = self._state(plan)
            except (RecordingError, BoxError, OSError):
                continue
            if one is not None:
                yield plan, one

    def _state(self, plan: Plan) -> RecordedState | None:
        memory = self._task.memory
        if FAULTS[plan[0].fault].cuts_power == "model":
            return state_after_cut(self._recordings, self._record, plan, memory)
        return recorded_state(self._recordings, self._record, plan[0], memory)

    def _partial(self, one: RecordedState) -> tuple[list[Finding], Tree] | None:
        """Return the partial outputs of a state, and its files if there are any; None if that is unknown."""
        key = self._outputs(one)
        if key not in self._known:
            runner, record = self._recordings.runner, self._record
            crash = one.lay_out(runner)
            if crash is None:
                return None
            files = record.compared(runner.box.look(record.spec, whole=True))
            state = runner.valued(record.spec, files)
            found = partial_outputs(runner, record, state, crash)
            found += crash_check(runner, record, crash.acks, [])
            self._known[key] = found, state if found else {}
        return self._known[key]

    def _outputs(self, one: RecordedState) -> tuple[str, str]:
        """Return a key that is equal for states in which readers see the same."""
        record = self._record
        tree = one.state.tree(self._recordings.runner.box.bytes)
        if record.spec.crash_check:  # it may read any file, and what was acknowledged
            return tree_digest(tree), f"{_torn(one)} after {one.said}"
        seen = {path: entry for path, entry in tree.items() if entry.kind == "link" or _is_seen(record, path)}
        into = tree.get(one.op.path) if one.torn else None
        is_apart = into is not None and not isinstance(into, Linked) and one.op.path not in seen
        return tree_digest(seen), "" if is_apart else _torn(one)

    def _example(self, plan: Plan, findings: Sequence[Finding], state: Tree) -> Trial:
        record, one = self._record, self._state(plan)
        assert one is not None
        trial = Trial(plan, Outcome.SEEN, findings=list(findings), rests_on=one.rests_on)
        trial.op, trial.path, trial.mark = one.op.describe(), one.op.path, mark_of(record, one.op)
        if one.is_cut:
            trial.lost, trial.stayed, trial.profile = one.lost, one.stayed, self._task.profile
        trial.left = names_left(record, state)
        return trial


def _is_seen(record: Record, path: str) -> bool:
    """Return whether what readers see depends on a path: a database's journal is a part of it."""
    return record.is_shown(path) or record.spec.is_of_database(path)


def _torn(one: RecordedState) -> str:
    """Return where a write is torn; "" if none is."""
    return f"+{one.state.at}.{one.torn}" if one.torn else ""
