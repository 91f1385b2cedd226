"""Crash points that leave the same files as one that is struck, and so need not be struck themselves.

Between two points of ``kill`` may lie an op that changes no file, as an fsync does. And a signal that a
process neither catches, blocks nor ignores ends it where it stands, as SIGKILL does (signal(7)), if it has
no other process beside it that lives on. Both are known only of runs in which one process makes all ops, in
the same order each time, maps no file to write to it out of sight, and acknowledges nothing.
"""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from outlive_harness.intercept import abi
from outlive_harness.plan import Plan, Point
from outlive_harness.trace import SYNCS, Op

from .golden import Record
from .rebase import told_by
from .results import Trial

_MAKES = os.O_CREAT | os.O_TRUNC | abi.O_TMPFILE_BIT
#: Signals that end a process by default, and leave no core file.
_ENDING = frozenset({"SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPIPE"})


def changes_files(op: Op) -> bool:
    """Tell whether the files of the box can differ once an op has run."""
    return op.kind not in SYNCS and (op.kind != "open" or bool(op.flags & _MAKES))


def twins(record: Record, plans: Iterable[Plan]) -> dict[Plan, list[Plan]]:
    """Return, by the plan that is to be carried out, those of which it tells: plans of one kill each.

    Args:
        record: of the run that is struck.
        plans: what is to be tried, in order; only plans that another one stands for are in the lists.
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
    """Return, for each op, the number of the first one before which the files were the same."""
    like = [1]
    for number, op in enumerate(ops[:-1], start=2):
        like.append(number if changes_files(op) else like[-1])
    return like


def told(record: Record, trials: Iterable[Trial], several: Mapping[Plan, Sequence[Plan]]) -> list[Trial]:
    """Return what trials tell of the twins of their plans."""
    return [_twin(record, trial, plan) for trial in trials for plan in several.get(trial.plan, ())]


def ended_as_killed(record: Record, plans: Iterable[Plan], killed: Iterable[Trial]) -> list[Trial]:
    """Return what kills tell of plans of one signal each: those at which the process would not survive it.

    Only what held is told: what did not is struck, so that the signal itself shows it.

    Args:
        record: of the run that is struck.
        plans: what is to be tried.
        killed: the trials of ``kill``.
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
        trial = known.get((Point("kill", point.at),))
        if trial is not None and _is_fatal(record, point):
            twin = _twin(record, trial, plan)
            twin.judged = trial.state not in seen  # once a state, as of any fault
            seen.add(trial.state)
            found.append(twin)
    return found


def _is_fatal(record: Record, point: Point) -> bool:
    """Tell whether the signal of a point ends the process that stands before its op."""
    number = point.part or signal.SIGTERM
    if not any(number == getattr(signal, name, 0) for name in _ENDING):
        return False
    return not record.signals[point.at - 1] >> (number - 1) & 1


def _twin(record: Record, trial: Trial, plan: Plan) -> Trial:
    op = record.ops[plan[0].at - 1]
    return replace(
        trial,
        plan=plan,
        judged=False,
        findings=[],
        warnings=[],
        recovery=[],
        redone=-1,
        op=op.describe() if trial.reached else "",
        path=op.path if trial.reached else "",
        mark=told_by(record, op) if trial.reached else "",
        story=[f"the same files as at {trial.plan[0]}"],
    )
