"""Violations made smaller: fewer crashes, fewer lost ops, as long as the same thing goes wrong.

Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002) on
plans; each candidate is carried out for real.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator

from outlive_harness.plan import Plan, digest, parse_plan, size

from . import board
from .golden import Record
from .merge import violation_of, weakness
from .options import Options
from .results import Finding, Trial, Violation
from .session import Session
from .trial import Order
from .waiting import Waiting, collect

#: Rounds in which a plan is made smaller, and candidates of one round.
_ROUNDS, _WIDTH = 8, 24


def shrunk(
    session: Session, record: Record, violation: Violation, options: Options
) -> Generator[Waiting, None, Violation]:
    """Return the violation with the smallest plan that shows the same, on no weaker a disk."""
    for _ in range(_ROUNDS):
        plan = parse_plan(violation.point)
        plans = list(dict.fromkeys(candidates(plan)))[:_WIDTH]
        if not plans:
            break
        name = f"v-{record.place.name}-{digest(plan)}-{time.time_ns()}"
        orders = [
            Order(
                record.place,
                one,
                memory=options.memory,
                by_exec=not options.zygote,
                profile=violation.profile or "strict",
            )
            for one in plans
        ]
        waiting = Waiting(board.post(session.root, name, "trial", orders), len(orders))
        yield waiting
        showing = [
            (trial, finding)
            for trial in collect(waiting, Trial)
            for finding in _same(record, trial, violation)
        ]
        if not showing:
            break
        trial, finding = min(showing, key=lambda pair: size(pair[0].plan))
        scenario = violation.replay.rpartition(":")[0]
        violation = violation_of(scenario, violation.fault, trial, finding, violation.points)
    return violation


def candidates(plan: Plan) -> Iterator[Plan]:
    """Yield smaller plans: without one of the crashes; with a part of what a power cut lost."""
    if len(plan) > 1:
        yield from (plan[:number] + plan[number + 1 :] for number in range(len(plan)))
    for number, point in enumerate(plan):
        for lost in _fewer(point.lost):
            yield (*plan[:number], point._replace(lost=lost), *plan[number + 1 :])


def _fewer(lost: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield either half, then all but one."""
    if len(lost) < 2:  # one that loses nothing is another fault
        return
    half = len(lost) // 2
    yield from (lost[:half], lost[half:])
    yield from (lost[:place] + lost[place + 1 :] for place in range(len(lost)))


def _same(record: Record, trial: Trial, violation: Violation) -> list[Finding]:
    """Return the finding of a trial that is the violation's, if it has one."""
    if weakness(trial.profile) > weakness(violation.profile) or (trial.rests_on and not violation.rests_on):
        return []
    path = record.fold(violation.path)
    return [one for one in trial.findings if one.kind == violation.kind and record.fold(one.path) == path][:1]
