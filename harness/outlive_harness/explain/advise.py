"""Advice that was tried: repairs of the recorded ops under which every crash state holds.

The crash states of the repaired ops are laid out, and the pipeline recovers from them as it is. A repair is
advised only if no state violates anything, and time was enough to try them all.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise

from outlive_harness.disk.content import BLOCK
from outlive_harness.disk.model import UnmodelledError
from outlive_harness.disk.power import LostError, PowerModel, State
from outlive_harness.disk.tree import tree_digest
from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.record import Record
from outlive_harness.judge.acks import digest_text
from outlive_harness.results.keywords import CUTS
from outlive_harness.results.trials import Trial
from outlive_harness.trial.crash import Crash
from outlive_harness.trial.recording import Recording
from outlive_harness.trial.recordings import Recordings
from outlive_harness.trial.trial import TrialTask, examine
from outlive_harness.world.box import BoxError

from .align import aligned
from .repairs import Repair, Trace, numbered, repairs
from .sources import Followed, Source

#: Seconds that may be spent on one scenario's advice.
PATIENCE = 30.0
#: The most crash states of one trace that are judged.
_LIMIT = 1024
#: How many places one advice names.
_STEPS = 4
#: The most repairs that are tried together.
_TOGETHER = 3
#: The most sites in programs without lines, such as a shell's, that are left out one by one.
_APART = 16

#: A state's violations: (kind, folded path).
Faulty = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Advice:
    """A change that cures violations.

    Attributes:
        text: the change in words, with its places and the number of states that then hold.
        cures: the violations that are gone then: (kind, folded path).
        sites: the numbers of the golden run's ops to change, the most important first.
    """

    text: str
    cures: Faulty
    sites: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The violations to cure, and how crash states are made.

    Attributes:
        faults: the faults that were asked for.
        profile: the disk's profile.
        seed: the seed of the random states, which come after the systematic ones.
        judged: the violations of the crash states that trials judged, by the states' digests.
        memory: bytes of recorded data that are kept in memory.
        torn: where ``torn`` cuts a write: ``pages`` or ``bytes``.
    """

    faults: tuple[str, ...]
    profile: str
    seed: int
    judged: dict[str, Faulty] = field(default_factory=dict)
    memory: int = 0
    torn: str = CUTS[0]


class _OutOfTimeError(Exception):
    """The time for advice is used up."""


def advise(
    recordings: Recordings, record: Record, wanted: Wanted, run: Followed, *, until: float | None = None
) -> list[Advice]:
    """Return the repairs that were tried and cure violations of a run, the best first.

    Args:
        recordings: the recordings.
        record: the golden run.
        wanted: the violations to cure.
        run: the run whose lines were followed.
        until: wall-clock time after which no state is judged; None for no limit but PATIENCE.

    Raises:
        BoxError: a box could not be filled, ...
    """
    recordings.runner.choose_start(record.spec, record.preload, record.check_preloads)
    recording, model = recordings.of(record, (), memory=wanted.memory)
    if model is None:
        return []
    judge = _Judge(recordings, record, recording, wanted, until)
    sources = run.of(recording.ops)
    found: list[Advice] = []
    try:
        violations = judge.violations(numbered(recording.ops))
        # A violation that the recorded ops alone do not show (after an error, a second crash) has no repair.
        for goals in _goals(violations):
            if not any(goals <= advice.cures for advice in found):
                found += _cure(judge, goals, violations, sources)
    except (_OutOfTimeError, UnmodelledError):
        pass
    # A violation names ops of the golden run, and the recording is another run.
    golden = aligned(record, recording.ops, record.ops)
    return [
        replace(one, sites=tuple(golden[site - 1] + 1 for site in one.sites if golden[site - 1] >= 0))
        for one in found
    ]


def _goals(violations: Faulty) -> Iterator[Faulty]:
    """Yield sets of violations to cure: all of them, then each alone."""
    if violations:
        yield violations
    if len(violations) > 1:
        yield from (frozenset({one}) for one in sorted(violations))


def _cure(judge: _Judge, goals: Faulty, violations: Faulty, sources: Sequence[Source]) -> Iterator[Advice]:
    """Try repairs, alone and together; yield the first that cures all goals and adds no violation."""
    spec = judge.record.spec
    # A database renames no files: what belongs together goes into one transaction.
    several = repairs(
        judge.recording.ops, lambda path: spec.is_output(path) and not spec.is_of_database(path)
    )
    for count in range(1, min(len(several), _TOGETHER) + 1):
        for some in combinations(several, count):
            sites = {one.key: frozenset(one.sites) for one in some}
            if len({one.habit for one in some}) < count or not judge.holds(some, sites, goals, violations):
                continue
            with contextlib.suppress(_OutOfTimeError):  # then the advice has more sites than necessary
                for one in some:  # leave out unnecessary sites, a line of the program at a time
                    for line in _lines(one, sources):
                        fewer = {**sites, one.key: sites[one.key] - line}
                        if judge.holds(some, fewer, goals, violations):
                            sites = fewer
            yield _advice(judge, [one for one in some if sites[one.key]], sites, goals, sources)
            return


def _lines(repair: Repair, sources: Sequence[Source]) -> list[frozenset[int]]:
    """Group a repair's sites by the line of the program; a few sites in other programs are each alone."""
    by_line: dict[str, set[int]] = {}
    apart = {site for site in repair.sites if sources[site - 1].command}
    apart = apart if len(apart) <= _APART else set()
    for site in repair.sites:
        line = "" if site in apart else str(sources[site - 1])
        by_line.setdefault(line or str(site), set()).add(site)
    return [frozenset(several) for several in by_line.values()]


def _advice(
    judge: _Judge,
    some: Sequence[Repair],
    sites: dict[tuple[str, str], frozenset[int]],
    goals: Faulty,
    sources: Sequence[Source],
) -> Advice:
    steps: dict[str, None] = {}
    for one in some:
        for site in sorted(sites[one.key]):
            steps[f"{one.say(site)} at {sources[site - 1] or f'op {site}'}"] = None
    shown = list(steps)[:_STEPS]
    more = len(steps) - len(shown)
    text = "; ".join(shown) + (f"; and so at {more} more place{'s' * (more > 1)}" if more else "")
    count = judge.counted
    ordered = tuple(site for one in some for site in sorted(sites[one.key]))
    return Advice(f"{text}: {count} of {count} states then hold", goals, ordered)


class _Judge:
    """Judges the crash states of traces, each once."""

    def __init__(
        self,
        recordings: Recordings,
        record: Record,
        recording: Recording,
        wanted: Wanted,
        until: float | None,
    ) -> None:
        self.recording, self.record = recording, record
        self._recordings, self._wanted = recordings, wanted
        self._known = dict(wanted.judged)
        patience = PATIENCE if until is None else min(PATIENCE, until - time.time())
        self._deadline = time.monotonic() + patience
        faults = [FAULTS[name] for name in wanted.faults]
        self._cuts = wanted.torn if any(fault.part == "bytes" for fault in faults) else ""
        self._cuts_power = any(fault.cuts_power == "model" for fault in faults)
        #: the number of states of the last trace that held
        self.counted = 0

    def violations(self, trace: Trace) -> Faulty:
        """Return the violations of all states of a trace."""
        return frozenset().union(*(self._violates(trace, state) for state in self._states(trace)))

    def holds(
        self,
        some: Sequence[Repair],
        sites: dict[tuple[str, str], frozenset[int]],
        goals: Faulty,
        violations: Faulty,
    ) -> bool:
        """Return whether no state of the repaired trace has one of the goals, or a new violation."""
        trace = numbered(self.recording.ops)
        for one in some:
            trace = one.apply(trace, sites[one.key]) if sites[one.key] else trace
        try:
            states = list(self._states(trace))
        except (UnmodelledError, LostError):
            return False
        new = [state for state in states if self._key(trace, state) not in self._known]
        known = (self._known[key] for key in (self._key(trace, one) for one in states) if key in self._known)
        if any(found & goals or found - violations for found in known):
            return False
        if any(
            found & goals or found - violations for found in (self._violates(trace, state) for state in new)
        ):
            return False
        self.counted = len(states)
        return True

    def _states(self, trace: Trace) -> Iterator[State]:
        """Yield the crash states of a trace, no two with equal files and equal acknowledgements."""
        model = PowerModel(self.recording.initial, [one.op for one in trace])
        seen: dict[int, set[str]] = {}
        left = _LIMIT
        moments = list(model.moments(range(1, len(trace) + 1)))
        for number, (at, returned) in enumerate(moments):
            known = seen.setdefault(self._said(trace, at, returned=returned), set())
            kinds: list[Iterable[State]] = []
            if returned:
                kinds.append(_killed(model, at, self._cuts))
            if self._cuts_power:
                share = max(1, left // (len(moments) - number))
                cuts = model.under(self._wanted.profile).states(
                    at, seed=self._wanted.seed, budget=share, seen=set(), returned=returned
                )
                kinds.append(cuts)
            for states in kinds:
                for state in states:
                    if state.digest not in known:
                        known.add(state.digest)
                        left -= 1
                        yield state

    def _said(self, trace: Trace, at: int, *, returned: bool) -> int:
        """Return how much was acknowledged before the op after *at*, or before op *at* returned."""
        return self.recording.said[trace[at - 1].number - (not returned)]

    def _promised(self, trace: Trace, state: State) -> list[str]:
        return self.recording.acks[: self._said(trace, state.at, returned=state.returned)]

    def _key(self, trace: Trace, state: State) -> str:
        """Return the digest that a trial gives this state."""
        tree = tree_digest(state.tree(self.recording.box), self.record.fold)
        acks = self._promised(trace, state)
        return tree + (digest_text("\n".join(acks)) if acks else "")

    def _violates(self, trace: Trace, state: State) -> Faulty:
        key = self._key(trace, state)
        if key not in self._known:
            if time.monotonic() > self._deadline:
                raise _OutOfTimeError
            self._known[key] = self._judge(trace, state)
        return self._known[key]

    def _judge(self, trace: Trace, state: State) -> Faulty:
        runner, record = self._recordings.runner, self.record
        ops = [one.op for one in trace[: state.at]]
        crash = Crash(ops[-1], versions=self.recording.versions, acks=self._promised(trace, state))
        for op in ops:
            crash.touched.note(op)
        task, trial = TrialTask(record.place, ()), Trial(())
        runner.choose_start(record.spec, record.preload, record.check_preloads)
        runner.box.lay_out(state)
        examine(runner, record, task, trial, crash)
        if trial.trouble:
            raise BoxError(trial.trouble)
        return frozenset((finding.kind, record.fold(finding.path)) for finding in trial.findings)


def _killed(model: PowerModel, at: int, cuts: str) -> Iterator[State]:
    """Yield the states that a kill leaves after an op, and in the middle of a write, if writes are cut."""
    yield model.state(at)
    if not cuts or not model.history.ops[at - 1].traits.writes:
        return
    parts = [model.history.micros[number] for number in model.history.parts(at)]
    for last, lost in pairwise(parts):
        if last.what == "data" and (cuts == "bytes" or last.stop % BLOCK == 0):
            try:
                yield model.state(at, [f"{at}.{part}" for part in range(lost.part, len(parts) + 1)])
            except LostError:  # a kill leaves this state, but the model of the disk does not
                continue
