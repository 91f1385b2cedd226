"""The search of one fault in one scenario: its parameters and its state."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from outlive_harness.faults import Fault, Settings
from outlive_harness.golden.record import Record
from outlive_harness.golden.similar import MANY
from outlive_harness.jobs.shared import first_to
from outlive_harness.results.options import Options
from outlive_harness.results.plan import Plan, plan_text
from outlive_harness.results.scenario import Scenario
from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import Coverage
from outlive_harness.trial.judge_states import JudgedStates
from outlive_harness.trial.trial import TrialTask

from .forecast import Forecast

#: How many more crashes in a row are tried than were asked for, while time of a budget is left.
MORE = 2
#: Seconds, and the part of the time that is left, in which recordings are looked at.
_LOOK, _LOOK_PART = 3.0, 0.25


class Planned(NamedTuple):
    """A plan, and the crash state of an earlier trial that it starts from.

    Attributes:
        plan: the crashes.
        start: the kept crash state before the last of them; None to begin at the first.
        acks: what was acknowledged up to that state.
    """

    plan: Plan
    start: Path | None = None
    acks: tuple[str, ...] = ()


class Onlooker(Protocol):
    """Gets news of searches before their trials begin."""

    def seen(self, trials: Sequence[Trial]) -> None:
        """Take what a recording shows to be wrong with crash states; no recovery was run."""

    def planned(self, forecast: Forecast) -> None:
        """Take what the trials will take."""


class KeptTrials(Protocol):
    """Keeps the trials of a run, in case it is cut short, and those of an earlier run."""

    def known(self, search: str) -> Mapping[Plan, Trial]:
        """Return an earlier run's trials of one search, by plan."""

    def add(self, search: str, trial: Trial) -> None:
        """Keep a trial."""


@dataclass(frozen=True, slots=True)
class FaultSearch:
    """The parameters of the search of one fault.

    Attributes:
        scenario: the scenario.
        name: the name of the fault that was asked for.
        fault: the fault of the first crash: that one, or the one that stands in for it.
        faults: the faults that may be injected into recoveries.
        options: the user's choices.
        settings: the settings of the faults.
        profile: the disk's profile.
        until: wall-clock time after which no trial starts; None for no limit.
        pause: wall-clock time after which no trial starts if a violation was found by then, so that time is
            left to confirm and explain it; None for no limit.
        notes: what its coverage leaves out.
        by_exec: whether each run starts by exec.
        wanted: the kinds of violations that end the search once all are found; none to search to the end.
        first: whether any violation ends the search.
        kept: regressions, which are tried first.
        kept_alone: whether only the regressions are tried.
    """

    scenario: Scenario
    name: str
    fault: Fault
    faults: Sequence[Fault]
    options: Options
    settings: Settings
    profile: str
    until: float | None = None
    pause: float | None = None
    notes: tuple[str, ...] = ()
    by_exec: bool = False
    wanted: frozenset[str] = frozenset()
    first: bool = False
    kept: tuple[Plan, ...] = ()
    kept_alone: bool = False

    def has_enough(self, trials: Sequence[Trial]) -> bool:
        """Return whether all wanted violations were found, so that nothing can change the verdict."""
        found = {finding.kind for trial in trials for finding in trial.findings}
        return bool(found) if self.first else bool(self.wanted) and self.wanted <= found

    def looks_until(self) -> float | None:
        """Return the wall-clock time until which recordings are looked at; that takes no run of the pipeline.

        A budget leaves some seconds for that even if it is used up, as no trial says as much in that time. It
        leaves no more than a part of its rest, as only trials show whether the pipeline recovers.
        """
        now = time.time()
        return None if self.until is None else now + max(_LOOK, _LOOK_PART * (self.until - now))

    @property
    def depth(self) -> int:
        """The number of crashes in a row that were asked for."""
        return max(self.options.depth, self.scenario.depth)

    @property
    def deepest(self) -> int:
        """The number of crashes in a row that may be tried if time is left."""
        return self.depth + (MORE if self.options.budget is not None and not self.scenario.expect else 0)

    def selects(self, count: int) -> bool:
        """Return whether only some of *count* points are tried."""
        select = self.options.select
        return select == "distinct" or (select == "auto" and count > MANY)

    def random(self, level: int) -> random.Random:
        """Return the seeded generator for all choices of one level."""
        text = f"{self.options.seed}:{self.scenario.name}:{self.fault.name}:{level}"
        return random.Random(text.encode(errors="surrogateescape"))  # a name need not be UTF-8


@dataclass(slots=True)
class SearchState:
    """The state of the search of one fault.

    Attributes:
        search: its parameters.
        coverage: how much was tried so far.
        rank: its place in the job queue among the searches of all scenarios; the earliest is served first.
        states: the directory in which its crash states are claimed, and kept for deeper plans.
        recovered: the directory in which all faults note the states that recover.
        trials: the trials so far.
        gone: trials of regressions whose crash points no longer exist.
        unreachable: regressions that only a weaker disk shows.
        from_recording: whether crash states are taken from a recording of the first run.
        is_planned: whether its crash points are known.
        seen: what the recording shows of its crash states, before any recovery.
        unfinished: keeps trials in case the run is cut short; None to keep none.
    """

    search: FaultSearch
    coverage: Coverage
    rank: int
    states: Path
    recovered: Path
    trials: list[Trial] = field(default_factory=list)
    gone: list[Trial] = field(default_factory=list)
    unreachable: list[Plan] = field(default_factory=list)
    from_recording: bool = False
    is_planned: bool = False
    seen: JudgedStates = field(default_factory=JudgedStates)
    unfinished: KeptTrials | None = None

    @property
    def known(self) -> Mapping[Plan, Trial]:
        """The trials of a run that was cut short; none if deeper plans need their crash states."""
        if self.unfinished is None or self.search.deepest > 1:
            return {}
        return self.unfinished.known(self._label)

    def keep(self, trial: Trial) -> None:
        """Keep a trial, in case this run is cut short."""
        if self.unfinished is not None and self.search.deepest == 1:
            self.unfinished.add(self._label, trial)

    @property
    def _label(self) -> str:
        return self.search.fault.name + ("-exec" if self.search.by_exec else "")

    def task(self, record: Record, what: Planned, *, keep_states: bool) -> TrialTask:
        """Return the task that carries out one plan."""
        return TrialTask(
            record.place,
            what.plan,
            self.states,
            self.recovered,
            what.start,
            what.acks,
            keep_states=keep_states,
            memory=self.search.options.memory,
            by_exec=self.search.by_exec,
            from_recording=self.from_recording,
            profile=self.search.profile,
            until=self.search.until,
        )


def begin(record: Record, search: FaultSearch, unfinished: KeptTrials | None = None) -> SearchState:
    """Begin the search of one fault, or resume one that was cut short."""
    profile = search.profile if search.fault.cuts_power == "model" else ""
    coverage = Coverage(profile=profile)
    for note in search.notes:
        coverage.leave_out(note)
    rank = time.time_ns()
    states = record.states(f"{rank}-{search.fault.name}")
    states.mkdir()
    # A recovery in a zygote proves nothing if each run must start by exec.
    recovered = record.recovered(by_exec=search.by_exec)
    recovered.mkdir(exist_ok=True)
    one = SearchState(search, coverage, rank, states, recovered, unfinished=unfinished)
    for trial in one.known.values():
        if trial.judged:
            first_to(states, trial.state, plan_text(trial.plan))
    return one
