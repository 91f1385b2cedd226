"""Smaller plans for violations: fewer crashes, fewer lost ops, as long as the same violation shows.

This is delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002) on
plans; each candidate is carried out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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
#: The weakest profile that the violation of a fault other than a power cut is labelled with.
_WEAKEST = "strict"


def shrunk(
    session: Session,
    record: Record,
    violations: Sequence[Violation],
    options: Options,
    until: float | None = None,
) -> Waits[list[Violation]]:
    """Return violations with the smallest plans that still show them, on disks that are not weaker.

    Args:
        session: the session whose workers carry out the candidates: each plan once, for all violations.
        record: the golden run.
        violations: the violations.
        options: the user's choices.
        until: wall-clock time after which no candidate is tried; None for no limit.
    """
    found, left = list(violations), set(range(len(violations)))
    for _ in range(_ROUNDS):
        plans = {number: _smaller(found[number]) for number in left}
        tried = yield from _tried(session, record, found, plans, options, until)
        for number in sorted(left):
            showing = [
                (trial, finding)
                for plan in plans[number]
                for trial in tried.get((plan, found[number].profile or _WEAKEST), ())
                for finding in _same(record, trial, found[number])
            ]
            if showing:
                trial, finding = min(showing, key=lambda pair: size(pair[0].plan))
                violation = found[number]
                name = violation.replay.rpartition(":")[0]
                found[number] = violation_of(name, violation.fault, trial, finding, violation.points)
            else:
                left.discard(number)
        if not left:
            break
    return found


def _smaller(violation: Violation) -> list[Plan]:
    return list(dict.fromkeys(candidates(parse_plan(violation.point))))[:_WIDTH]


def _tried(
    session: Session,
    record: Record,
    violations: Sequence[Violation],
    plans: Mapping[int, Sequence[Plan]],
    options: Options,
    until: float | None,
) -> Waits[dict[tuple[Plan, str], list[Trial]]]:
    """Carry out candidates of several violations; return their trials, by plan and profile."""
    wanted = dict.fromkeys(
        (plan, violations[number].profile or _WEAKEST) for number in sorted(plans) for plan in plans[number]
    )
    if not wanted:
        return {}
    tasks = [
        TrialTask(
            record.place,
            plan,
            memory=options.memory,
            by_exec=not options.zygote,
            profile=profile,
            until=until,
        )
        for plan, profile in wanted
    ]
    job = submit(session.root, tasks, priority=Priority.SHRINKING, until=until, label="making smaller")
    yield from results_of(job)
    keys = list(wanted)
    return {keys[number]: [trial] for number, trial in job.results.items() if isinstance(trial, Trial)}


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
