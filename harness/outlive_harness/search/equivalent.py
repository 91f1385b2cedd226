"""Equivalent points: crash points that leave the same files, of which one is tried.

Between two points of a kill may lie an op that changes no file, such as an fsync. And a signal that a process
neither catches, blocks nor ignores ends it where it is, as SIGKILL does (signal(7)), if no other process
outlives it. Both are known only of runs in which one process makes all ops, in the same order each time,
stores to no file through memory out of sight, and acknowledges nothing.
"""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.marks import mark_of
from outlive_harness.golden.record import Record
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import Plan, Point
from outlive_harness.results.trials import Outcome, Trial

#: Signals that end a process by default, and leave no core file.
_ENDING = frozenset({"SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPIPE"})


def equivalent_points(record: Record, plans: Iterable[Plan]) -> dict[Plan, list[Plan]]:
    """Return, for each plan that must be tried, the plans that are equivalent to it.

    Args:
        record: the golden run.
        plans: plans of one kill each, in order; those without an equivalent one are not in the result.
    """
    if not _is_alike_each_time(record):
        return {}
    like = _first_alike(record.ops)
    first: dict[int, Plan] = {}
    found: dict[Plan, list[Plan]] = defaultdict(list)
    for plan in plans:
        leader = first.setdefault(like[plan[0].at - 1], plan)
        if leader != plan:
            found[leader].append(plan)
    return found


def _is_alike_each_time(record: Record) -> bool:
    return record.has_order and record.is_alone and not (record.acks or record.trace.blind)


def _first_alike(ops: Sequence[Op]) -> list[int]:
    """Return, for each op, the number of the first op that found the same files."""
    like = [1]
    for number, op in enumerate(ops[:-1], start=2):
        like.append(number if op.changes_files else like[-1])
    return like


def trials_of_equivalents(
    record: Record, trials: Iterable[Trial], equivalents: Mapping[Plan, Sequence[Plan]]
) -> list[Trial]:
    """Return the trials of equivalent plans, which follow from those that were carried out."""
    return [_equivalent(record, one, plan) for one in trials for plan in equivalents.get(one.plan, ())]


def ended_by_signal(record: Record, plans: Iterable[Plan], killed: Iterable[Trial]) -> list[Trial]:
    """Return the trials of plans of one signal each that follow from kills, as the process cannot survive it.

    They follow only from kills that held; after any other the signal itself must show the violation.

    Args:
        record: the golden run.
        plans: the plans that are to be tried.
        killed: the trials of the fault that ends a run as the signal does.
    """
    if not _is_alike_each_time(record) or len(record.signals) != len(record.ops):
        return []
    killed = list(killed)
    clean = {trial.state for trial in killed if trial.judged and not trial.findings and not trial.warnings}
    known = {trial.plan: trial for trial in killed if trial.reached and trial.state in clean}
    found = []
    seen: set[str] = set()
    for plan in plans:
        point = plan[0]
        trial = known.get((Point(FAULTS[point.fault].ends_as, point.at),))
        if trial is not None and _is_fatal(record, point):
            equivalent = _equivalent(record, trial, plan)
            if trial.state not in seen:  # each fault counts a state once
                equivalent.outcome = Outcome.JUDGED
            seen.add(trial.state)
            found.append(equivalent)
    return found


def _is_fatal(record: Record, point: Point) -> bool:
    """Return whether a point's signal ends the process that is stopped before its op."""
    number = FAULTS[point.fault].signal_at(point)
    if not any(number == getattr(signal, name, 0) for name in _ENDING):
        return False
    return not record.signals[point.at - 1] >> (number - 1) & 1


def _equivalent(record: Record, trial: Trial, plan: Plan) -> Trial:
    op = record.ops[plan[0].at - 1]
    return replace(
        trial,
        plan=plan,
        outcome=Outcome.REPEATED if trial.reached else trial.outcome,
        findings=[],
        warnings=[],
        recovery=[],
        redone=-1,
        op=op.describe() if trial.reached else "",
        path=op.path if trial.reached else "",
        mark=mark_of(record, op) if trial.reached else "",
        story=[f"the same files as at {trial.plan[0]}"],
    )
