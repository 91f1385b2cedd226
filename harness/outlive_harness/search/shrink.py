"""Smaller plans for violations: fewer crashes, fewer lost ops, as long as the same violation shows.

This is delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002) on
plans; each candidate is carried out.
"""

from __future__ import annotations

from collections.abc import Iterator

from outlive_harness.disk.profiles import weakness
from outlive_harness.golden.record import Record
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import Waits, results_of, submit
from outlive_harness.results.findings import Finding, Violation
from outlive_harness.results.options import Options
from outlive_harness.results.plan import Plan, parse_plan, size
from outlive_harness.results.trials import Trial, violation_of
from outlive_harness.trial.trial import TrialTask

#: The most rounds of shrinking, and the most candidates of one round.
_ROUNDS, _WIDTH = 8, 24


def shrunk(session: Session, record: Record, violation: Violation, options: Options) -> Waits[Violation]:
    """Return the violation with the smallest plan that still shows it, on a disk that is not weaker."""
    for _ in range(_ROUNDS):
        plan = parse_plan(violation.point)
        plans = list(dict.fromkeys(candidates(plan)))[:_WIDTH]
        if not plans:
            break
        tasks = [
            TrialTask(
                record.place,
                one,
                memory=options.memory,
                by_exec=not options.zygote,
                profile=violation.profile or "strict",
            )
            for one in plans
        ]
        trials = yield from results_of(submit(session.root, tasks, priority=Priority.SHRINKING))
        showing = [(trial, finding) for trial in trials for finding in _same(record, trial, violation)]
        if not showing:
            break
        trial, finding = min(showing, key=lambda pair: size(pair[0].plan))
        scenario = violation.replay.rpartition(":")[0]
        violation = violation_of(scenario, violation.fault, trial, finding, violation.points)
    return violation


def candidates(plan: Plan) -> Iterator[Plan]:
    """Yield smaller plans: without one of the crashes, or with fewer lost ops in a power cut."""
    if len(plan) > 1:
        yield from (plan[:number] + plan[number + 1 :] for number in range(len(plan)))
    for number, point in enumerate(plan):
        for lost in _fewer(point.lost):
            yield (*plan[:number], point._replace(lost=lost), *plan[number + 1 :])


def _fewer(lost: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield each half, then all but one."""
    if len(lost) < 2:  # a power cut that loses nothing is a kill
        return
    half = len(lost) // 2
    yield from (lost[:half], lost[half:])
    yield from (lost[:index] + lost[index + 1 :] for index in range(len(lost)))


def _same(record: Record, trial: Trial, violation: Violation) -> list[Finding]:
    """Return a trial's finding of the same violation, if it has one."""
    if weakness(trial.profile) > weakness(violation.profile) or (trial.rests_on and not violation.rests_on):
        return []
    path = record.fold(violation.path)
    return [one for one in trial.findings if one.kind == violation.kind and record.fold(one.path) == path][:1]
