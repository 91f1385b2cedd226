"""One fault's trials: first single crashes, then crashes in the recoveries of distinct states."""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from outlive_harness.faults import Fault
from outlive_harness.plan import Plan
from outlive_harness.scenario import Scenario

from . import board
from .golden import Record
from .options import Options
from .results import Broken, Coverage, Trial
from .session import Session
from .trial import Order

#: A plan, the kept crash state that it starts from, if any, and what was acknowledged before.
Planned = tuple[Plan, Path | None, tuple[str, ...]]


class HarnessError(RuntimeError):
    """A fault of ours, with its traceback."""


@dataclass(slots=True)
class Waiting:
    """A job that an exploration waits for."""

    job: Path
    count: int
    fault: str = ""
    until: float | None = None
    seen: int = 0
    next_look: float = 0.0

    def is_over(self) -> bool:
        """Tell whether all that will be done of it is done; note how much is."""
        now = time.monotonic()
        if now < self.next_look:
            return False
        # Listing thousands of results for each that arrives would cost more than the trials.
        self.next_look = now + self.count * 1e-4
        finished = board.done(self.job)
        self.seen = len(finished)
        if self.seen == self.count:
            return True
        if self.until is None or time.time() < self.until + 0.2:
            return False
        claimed = sum(1 for path in (self.job / "claims").iterdir() if path.name.isdigit())
        return claimed == self.seen


@dataclass(frozen=True, slots=True)
class Campaign:
    """What one fault's exploration of one scenario is to do.

    Attributes:
        scenario: what is explored.
        fault: what strikes first.
        faults: what may strike the recoveries.
        options: the user's.
        until: moment of the wall clock after which no trial is begun; None for no limit.
    """

    scenario: Scenario
    fault: Fault
    faults: Sequence[Fault]
    options: Options
    until: float | None

    @property
    def depth(self) -> int:
        """How many crashes in a row there are to be."""
        return max(self.options.depth, self.scenario.depth)

    def random(self, level: int) -> random.Random:
        """Return the source of all choices of one level."""
        text = f"{self.options.seed}:{self.scenario.name}:{self.fault.name}:{level}"
        return random.Random(text.encode(errors="surrogateescape"))  # a name may be no UTF-8


def waves(
    session: Session, record: Record, coverage: Coverage, trials: list[Trial], campaign: Campaign
) -> Generator[Waiting, None, None]:
    """Explore one fault, level by level; coverage and trials are filled in on the way."""
    options, fault, depth = campaign.options, campaign.fault, campaign.depth
    # The board's order is that of names: who was there first is served first.
    stamp = f"{time.time_ns()}-{record.place.name}-{fault.name}"
    states = record.place / f"states-{stamp}"
    states.mkdir()
    for level in range(1, depth + 1):
        choose = campaign.random(level)
        if level == 1:
            points = fault.points(record.ops, seconds=record.seconds, count=options.points, random=choose)
            every: list[Planned] = [((point,), None, ()) for point in points]
        else:
            every = _deeper(record, campaign, trials, states, level)
        plans = _sample(every, options.points, choose)
        if not plans:
            break
        if len(plans) < len(every):
            coverage.label = f"sampled {len(plans)} of {len(every)} points, seed {options.seed}"
        coverage.points += len(every)
        coverage.chosen += len(plans)
        if campaign.until is not None:  # what is cut off must not always be the same end
            choose.shuffle(plans)
        orders = [
            Order(record.place, plan, states, start, keep_states=level < depth, acks=acks)
            for plan, start, acks in plans
        ]
        job = board.post(session.root, f"t-{stamp}-{level}", "trial", orders, until=campaign.until)
        waiting = Waiting(job, len(orders), fault.name, campaign.until)
        try:
            yield waiting
        finally:
            trials += collect(job, waiting)


def _deeper(
    record: Record, campaign: Campaign, trials: list[Trial], states: Path, level: int
) -> list[Planned]:
    """Plan one crash more: in the recovery of each distinct state that the level before reached."""
    choose = campaign.random(level)
    plans: list[Planned] = []
    for trial in trials:
        if len(trial.plan) == level - 1 and trial.judged:
            start = states / f"{trial.state}.tree"
            for fault in campaign.faults:
                points = fault.points(trial.recovery, seconds=record.seconds, count=None, random=choose)
                plans += [((*trial.plan, point), start, tuple(trial.acks)) for point in points]
    return plans


def _sample(plans: list[Planned], count: int | None, choose: random.Random) -> list[Planned]:
    """Return so many of the plans, in their order; all of them where no number is given."""
    if count is None or count >= len(plans):
        return plans
    return [plans[i] for i in sorted(choose.sample(range(len(plans)), count))]


def collect(job: Path, waiting: Waiting) -> list[Trial]:
    """Take a job from the board and return what was done of it.

    Raises:
        HarnessError: a fault of ours in one of its units.
    """
    board.close(job)
    trials = []
    for number in sorted(board.done(job)):
        result = board.load(job / "results" / str(number))
        if isinstance(result, Broken):
            raise HarnessError(result.traceback)
        trials.append(result)
    waiting.seen = len(trials)
    return trials
