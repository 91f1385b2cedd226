"""Advice that was tried: repairs of the recorded trace under which every crash state holds.

The crash states of the repaired trace are laid out and recovered from by the pipeline as it is; a repair
that lets one of them violate is not advised, and neither is one for which time ran out.
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
from outlive_harness.explore.acks import digest_text
from outlive_harness.explore.golden import Record
from outlive_harness.explore.results import Trial
from outlive_harness.explore.runner import BoxError
from outlive_harness.explore.strike import Crash
from outlive_harness.explore.tapes import Tape, Tapes
from outlive_harness.explore.trial import Order, examine
from outlive_harness.scenario import CUTS
from outlive_harness.trace import WRITES

from .align import aligned
from .repairs import Repair, Trace, numbered, repairs
from .sources import Followed, Source

#: Seconds that are spent on one scenario's advice.
PATIENCE = 30.0
#: States of one trace that are judged.
_LIMIT = 1024
#: Places of one advice that are named.
_STEPS = 4
#: Repairs that are tried together.
_TOGETHER = 3
#: Sites in programs that have no lines, as a shell's, that are tried without one by one.
_APART = 16

#: What a state violates: (kind, path with what differs from run to run folded).
Faulty = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Advice:
    """What to change.

    Attributes:
        text: in words, with its place and how many states then hold.
        cures: the violations that are gone then: (kind, folded path).
        sites: numbers of the golden run's ops where it is to be done, the most telling first.
    """

    text: str
    cures: Faulty
    sites: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be cured, and how its states are told.

    Attributes:
        faults: those that were asked for.
        profile: what the disk promises where the power is cut.
        seed: decides what is tried after the states of a set kind.
        judged: what states that trials came to violate, by their digests.
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
    """There is no time for more."""


def advise(tapes: Tapes, record: Record, wanted: Wanted, run: Followed) -> list[Advice]:
    """Return what was tried and makes violations of a run go away, the best first.

    Raises:
        BoxError: a box could not be filled, ...
    """
    tapes.runner.choose_start(record.subject, record.preload, record.check_preload)
    tape, model = tapes.of(record, (), memory=wanted.memory)
    if model is None:
        return []
    court = _Court(tapes, record, tape, wanted)
    sources = run.of(tape.ops)
    found: list[Advice] = []
    try:
        trouble = court.trouble(numbered(tape.ops))
        # What no repair can cure is not looked for: a state that only an error comes to, a crash too many.
        for goals in _goals(trouble):
            if not any(goals <= advice.cures for advice in found):
                found += _cure(court, goals, trouble, sources)
    except (_OutOfTimeError, UnmodelledError):
        pass
    # The recording is another run than the golden one, whose ops a violation is about.
    golden = aligned(record, tape.ops, record.ops)
    return [
        replace(one, sites=tuple(golden[site - 1] + 1 for site in one.sites if golden[site - 1] >= 0))
        for one in found
    ]


def _goals(trouble: Faulty) -> Iterator[Faulty]:
    """Yield what may be cured: all at once, else one by one."""
    if trouble:
        yield trouble
    if len(trouble) > 1:
        yield from (frozenset({one}) for one in sorted(trouble))


def _cure(court: _Court, goals: Faulty, trouble: Faulty, sources: Sequence[Source]) -> Iterator[Advice]:
    """Try repairs, alone and together; yield the first that cures all of the goals and adds nothing."""
    several = repairs(court.tape.ops, court.record.subject.is_output)
    for count in range(1, min(len(several), _TOGETHER) + 1):
        for some in combinations(several, count):
            sites = {one.name: frozenset(one.sites) for one in some}
            if len({one.name.split()[0] for one in some}) < count or not court.holds(
                some, sites, goals, trouble
            ):
                continue
            with contextlib.suppress(_OutOfTimeError):  # what holds is advised, be it more than is needed
                for one in some:  # where no repair is needed is left out, a line of the program at a time
                    for line in _lines(one, sources):
                        fewer = {**sites, one.name: sites[one.name] - line}
                        if court.holds(some, fewer, goals, trouble):
                            sites = fewer
            yield _advice(court, [one for one in some if sites[one.name]], sites, goals, sources)
            return


def _lines(repair: Repair, sources: Sequence[Source]) -> list[frozenset[int]]:
    """Return a repair's sites by the line of the program that they are on; a few by other programs apart."""
    by_line: dict[str, set[int]] = {}
    apart = {site for site in repair.sites if sources[site - 1].command}
    apart = apart if len(apart) <= _APART else set()
    for site in repair.sites:
        line = "" if site in apart else str(sources[site - 1])
        by_line.setdefault(line or str(site), set()).add(site)
    return [frozenset(several) for several in by_line.values()]


def _advice(
    court: _Court,
    some: Sequence[Repair],
    sites: dict[str, frozenset[int]],
    goals: Faulty,
    sources: Sequence[Source],
) -> Advice:
    steps: dict[str, None] = {}
    for one in some:
        for site in sorted(sites[one.name]):
            steps[f"{one.say(site)} at {sources[site - 1] or f'op {site}'}"] = None
    shown = list(steps)[:_STEPS]
    more = len(steps) - len(shown)
    text = "; ".join(shown) + (f"; and so at {more} more place{'s' * (more > 1)}" if more else "")
    count = court.counted
    ordered = tuple(site for one in some for site in sorted(sites[one.name]))
    return Advice(f"{text}: {count} of {count} states then hold", goals, ordered)


class _Court:
    """Judges the crash states of traces, each once."""

    def __init__(self, tapes: Tapes, record: Record, tape: Tape, wanted: Wanted) -> None:
        self.tape, self.record = tape, record
        self._tapes, self._wanted = tapes, wanted
        self._known = dict(wanted.judged)
        self._deadline = time.monotonic() + PATIENCE
        #: states of the trace that was the last to hold
        self.counted = 0

    def trouble(self, trace: Trace) -> Faulty:
        """Return all that any state of a trace violates."""
        return frozenset().union(*(self._violates(trace, state) for state in self._states(trace)))

    def holds(
        self, some: Sequence[Repair], sites: dict[str, frozenset[int]], goals: Faulty, trouble: Faulty
    ) -> bool:
        """Tell whether no state of the repaired trace violates a goal, or anything new."""
        trace = numbered(self.tape.ops)
        for one in some:
            trace = one.apply(trace, sites[one.name]) if sites[one.name] else trace
        try:
            states = list(self._states(trace))
        except (UnmodelledError, LostError):
            return False
        new = [state for state in states if self._key(trace, state) not in self._known]
        known = (self._known[key] for key in (self._key(trace, one) for one in states) if key in self._known)
        if any(found & goals or found - trouble for found in known):
            return False
        if any(found & goals or found - trouble for found in (self._violates(trace, state) for state in new)):
            return False
        self.counted = len(states)
        return True

    def _states(self, trace: Trace) -> Iterator[State]:
        """Yield the crash states of a trace, no two with equal files after equal promises."""
        model = PowerModel(self.tape.initial, [one.op for one in trace])
        seen: dict[int, set[str]] = {}
        left = _LIMIT
        moments = [
            (at, returned)
            for at in range(1, len(trace) + 1)
            for returned in ((False, True) if model.is_written_in_flight(at) else (True,))
        ]
        for number, (at, returned) in enumerate(moments):
            known = seen.setdefault(self._said(trace, at, returned=returned), set())
            kinds: list[Iterable[State]] = []
            if returned:
                kinds.append(_killed(model, at, self._wanted.torn if "torn" in self._wanted.faults else ""))
            if "power" in self._wanted.faults:
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
        """Return how much had been acknowledged before what follows op *at* of a trace, or its return."""
        return self.tape.said[trace[at - 1].number - (not returned)]

    def _promised(self, trace: Trace, state: State) -> list[str]:
        return self.tape.acks[: self._said(trace, state.at, returned=state.returned)]

    def _key(self, trace: Trace, state: State) -> str:
        """Return what a trial that came to this state would know it by."""
        tree = tree_digest(state.tree(self.tape.box), self.record.fold)
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
        runner, record = self._tapes.runner, self.record
        ops = [one.op for one in trace[: state.at]]
        crash = Crash(
            ops[-1],
            versions=self.tape.versions,
            acks=self.tape.acks[: self._said(trace, state.at, returned=state.returned)],
        )
        for op in ops:
            crash.touched.note(op)
        order, trial = Order(record.place, ()), Trial(())
        runner.choose_start(record.subject, record.preload, record.check_preload)
        runner.lay_out(state)
        examine(runner, record, order, trial, crash)
        if trial.trouble:
            raise BoxError(trial.trouble)
        return frozenset((finding.kind, record.fold(finding.path)) for finding in trial.findings)


def _killed(model: PowerModel, at: int, cuts: str) -> Iterator[State]:
    """Yield what a kill after an op leaves, and what one in the middle of a write does, if that is cut."""
    yield model.state(at)
    if not cuts or model.history.ops[at - 1].kind not in WRITES:
        return
    parts = [model.history.micros[number] for number in model.history.parts(at)]
    for last, lost in pairwise(parts):
        if last.what == "data" and (cuts == "bytes" or last.stop % BLOCK == 0):
            try:
                yield model.state(at, [f"{at}.{part}" for part in range(lost.part, len(parts) + 1)])
            except LostError:  # no disk comes by it; a kill would, but such a state is not told here
                continue
