"""What one fault's exploration of a scenario is to do, and how far it has come."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from outlive_harness.faults import Fault
from outlive_harness.plan import Plan, plan_text
from outlive_harness.scenario import Scenario

from . import board
from .golden import Record
from .options import Options
from .results import Coverage, Trial
from .select import MANY
from .trial import Order
from .unfinished import Unfinished

#: A plan, the kept crash state that it starts from, if any, and what was acknowledged before.
Planned = tuple[Plan, Path | None, tuple[str, ...]]

#: Crashes in a row beyond those asked for, while time of a budget is left.
MORE = 2


@dataclass(frozen=True, slots=True)
class Campaign:
    """What one fault's exploration of one scenario is to do.

    Attributes:
        scenario: what is explored.
        name: the fault that was asked for.
        fault: what strikes first: that one, or what stands in for it.
        faults: what may strike the recoveries.
        options: the user's.
        until: moment of the wall clock after which no trial is begun; None for no limit.
        label: what must be known of its coverage.
        by_exec: whether each run is to be an exec.
        wanted: kinds of violations that end the exploration once they are found; none to go on to its end.
        first: whether any violation ends it.
        kept: plans that failed once, to be carried out first.
        kept_alone: whether there is nothing to be done beside these.
    """

    scenario: Scenario
    name: str
    fault: Fault
    faults: Sequence[Fault]
    options: Options
    until: float | None = None
    label: str = ""
    by_exec: bool = False
    wanted: frozenset[str] = frozenset()
    first: bool = False
    kept: tuple[Plan, ...] = ()
    kept_alone: bool = False

    def has_enough(self, trials: Sequence[Trial]) -> bool:
        """Tell whether all that is wanted was found: then nothing further can change the verdict."""
        found = {finding.kind for trial in trials for finding in trial.findings}
        return bool(found) if self.first else bool(self.wanted) and self.wanted <= found

    @property
    def depth(self) -> int:
        """How many crashes in a row there are to be."""
        return max(self.options.depth, self.scenario.depth)

    @property
    def deepest(self) -> int:
        """How many there may be, where time is left: what recoveries do is then kept."""
        return self.depth + (MORE if self.options.budget is not None and not self.scenario.expect else 0)

    @property
    def profile(self) -> str:
        """What the disk promises."""
        return self.options.profile_of(self.scenario)

    @property
    def cuts(self) -> str:
        """Where ``torn`` cuts a write."""
        return self.options.cuts_of(self.scenario)

    def selects(self, count: int) -> bool:
        """Tell whether not all of so many points are to be carried out."""
        select = self.options.select
        return select == "distinct" or (select == "auto" and count > MANY)

    def random(self, level: int) -> random.Random:
        """Return the source of all choices of one level."""
        text = f"{self.options.seed}:{self.scenario.name}:{self.fault.name}:{level}"
        return random.Random(text.encode(errors="surrogateescape"))  # a name may be no UTF-8


@dataclass(slots=True)
class Explored:
    """One fault's exploration, as far as it has come.

    Attributes:
        campaign: what it is to do.
        coverage: how much was done.
        states: directory where its crash states are claimed, and kept for deeper plans.
        clean: directory where all faults of the record note from which states a recovery did all it must.
        trials: what was done.
        gone: trials of plans that failed once, and have nothing to reach any more.
        elsewhere: plans that failed once, on a disk that promises less.
        taped: whether torn writes are told from a recording of the first run.
        unfinished: where trials are kept in case that the run is cut short, and what was kept before.
    """

    campaign: Campaign
    coverage: Coverage
    states: Path
    clean: Path
    trials: list[Trial] = field(default_factory=list)
    gone: list[Trial] = field(default_factory=list)
    elsewhere: list[Plan] = field(default_factory=list)
    taped: bool = False
    unfinished: Unfinished | None = None

    @property
    def known(self) -> dict[Plan, Trial]:
        """Trials that a run which was cut short had done; none where deeper plans need what they left."""
        if self.unfinished is None or self.campaign.deepest > 1:
            return {}
        return self.unfinished.known(self._label)

    def keep(self, result: object) -> None:
        """Keep what was done, in case that this run is cut short as well."""
        if self.unfinished is not None and self.campaign.deepest == 1 and isinstance(result, Trial):
            self.unfinished.add(self._label, result)

    @property
    def _label(self) -> str:
        return self.campaign.fault.name + ("-exec" if self.campaign.by_exec else "")

    def order(self, record: Record, what: Planned, *, keep_states: bool) -> Order:
        """Return what a worker is to do for one plan."""
        plan, start, acks = what
        return Order(
            record.place,
            plan,
            self.states,
            self.clean,
            start,
            keep_states=keep_states,
            acks=acks,
            memory=self.campaign.options.memory,
            by_exec=self.campaign.by_exec,
            taped=self.taped,
            profile=self.campaign.profile,
        )


def explored(record: Record, campaign: Campaign, unfinished: Unfinished | None = None) -> Explored:
    """Begin one fault's exploration, or go on with one that was cut short."""
    profile = campaign.profile if campaign.name == "power" else ""
    coverage = Coverage(label=campaign.label, profile=profile)
    states = record.place / f"states-{time.time_ns()}-{record.place.name}-{campaign.fault.name}"
    states.mkdir()
    # What was seen in a warm interpreter is no proof where each run is to be an exec.
    clean = record.place / ("clean-exec" if campaign.by_exec else "clean")
    clean.mkdir(exist_ok=True)
    one = Explored(campaign, coverage, states, clean, unfinished=unfinished)
    for trial in one.known.values():
        if trial.judged:
            board.first_to(states, trial.state, plan_text(trial.plan))
    return one
