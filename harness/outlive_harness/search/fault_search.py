"""The search of one fault in one scenario: what is asked of it, and how far it has come."""

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
from outlive_harness.trial.trial import TrialTask

#: Crashes in a row beyond those asked for, while time of a budget is left.
MORE = 2


class Planned(NamedTuple):
    """A plan, and what an earlier trial left for it.

    Attributes:
        plan: the crashes.
        start: the kept crash state after all but the last of them; None to begin at the first.
        acks: what was acknowledged before the last crash.
    """

    plan: Plan
    start: Path | None = None
    acks: tuple[str, ...] = ()


class KeptTrials(Protocol):
    """The trials of a run that was cut short, and a place for those of this run."""

    def known(self, search: str) -> Mapping[Plan, Trial]:
        """Return what an earlier run did of one search, by plan."""

    def add(self, search: str, trial: Trial) -> None:
        """Keep a trial."""


@dataclass(frozen=True, slots=True)
class FaultSearch:
    """What is asked of the search of one fault.

    Attributes:
        scenario: what is explored.
        name: the fault that was asked for.
        fault: what is injected first: that one, or what stands in for it.
        faults: what may be injected into the recoveries.
        options: the user's.
        settings: how faults are set.
        profile: what the disk promises.
        until: moment of the wall clock after which no trial is begun; None for no limit.
        notes: what its coverage leaves out.
        by_exec: whether each run is an exec.
        wanted: kinds of violations that end the search once they are found; none to go on to its end.
        first: whether any violation ends it.
        kept: plans that failed once, to be carried out first.
        kept_alone: whether there is nothing to be done beside these.
    """

    scenario: Scenario
    name: str
    fault: Fault
    faults: Sequence[Fault]
    options: Options
    settings: Settings
    profile: str
    until: float | None = None
    notes: tuple[str, ...] = ()
    by_exec: bool = False
    wanted: frozenset[str] = frozenset()
    first: bool = False
    kept: tuple[Plan, ...] = ()
    kept_alone: bool = False

    def has_enough(self, trials: Sequence[Trial]) -> bool:
        """Return whether all that is wanted was found: then nothing further can change the verdict."""
        found = {finding.kind for trial in trials for finding in trial.findings}
        return bool(found) if self.first else bool(self.wanted) and self.wanted <= found

    @property
    def depth(self) -> int:
        """How many crashes in a row there are to be."""
        return max(self.options.depth, self.scenario.depth)

    @property
    def deepest(self) -> int:
        """How many there may be if time is left: the ops of recoveries are then kept."""
        return self.depth + (MORE if self.options.budget is not None and not self.scenario.expect else 0)

    def selects(self, count: int) -> bool:
        """Return whether not all of so many points are to be carried out."""
        select = self.options.select
        return select == "distinct" or (select == "auto" and count > MANY)

    def random(self, level: int) -> random.Random:
        """Return the source of all choices of one level."""
        text = f"{self.options.seed}:{self.scenario.name}:{self.fault.name}:{level}"
        return random.Random(text.encode(errors="surrogateescape"))  # a name may be no UTF-8


@dataclass(slots=True)
class SearchState:
    """How far the search of one fault has come.

    Attributes:
        search: what is asked of it.
        coverage: how much was done.
        rank: its place among the searches of all scenarios: the one that began first is served first.
        states: directory where its crash states are claimed, and kept for deeper plans.
        recovered: directory where all faults of the record note from which states a recovery did all it must.
        trials: what was done.
        gone: trials of plans that failed once, and have nothing to reach any more.
        unreachable: plans that failed once, on a disk that promises less.
        from_recording: whether crash states are taken from a recording of the first run.
        unfinished: where trials are kept in case the run is cut short, and what was kept before.
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
    unfinished: KeptTrials | None = None

    @property
    def known(self) -> Mapping[Plan, Trial]:
        """Trials of a run that was cut short; none if deeper plans need what those left."""
        if self.unfinished is None or self.search.deepest > 1:
            return {}
        return self.unfinished.known(self._label)

    def keep(self, trial: Trial) -> None:
        """Keep what was done, in case this run is cut short as well."""
        if self.unfinished is not None and self.search.deepest == 1:
            self.unfinished.add(self._label, trial)

    @property
    def _label(self) -> str:
        return self.search.fault.name + ("-exec" if self.search.by_exec else "")

    def task(self, record: Record, what: Planned, *, keep_states: bool) -> TrialTask:
        """Return the trial of one plan."""
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
        )


def begin(record: Record, search: FaultSearch, unfinished: KeptTrials | None = None) -> SearchState:
    """Begin the search of one fault, or go on with one that was cut short."""
    profile = search.profile if search.fault.cuts_power == "model" else ""
    coverage = Coverage(profile=profile)
    for note in search.notes:
        coverage.leave_out(note)
    rank = time.time_ns()
    states = record.states(f"{rank}-{search.fault.name}")
    states.mkdir()
    # What was seen in a zygote is no proof if each run is to be an exec.
    recovered = record.recovered(by_exec=search.by_exec)
    recovered.mkdir(exist_ok=True)
    one = SearchState(search, coverage, rank, states, recovered, unfinished=unfinished)
    for trial in one.known.values():
        if trial.judged:
            first_to(states, trial.state, plan_text(trial.plan))
    return one
