"""Replay ids that survive edits: an op is found again by what it does, where its number has changed.

Kept with a failure is what each op that its id names did, and the how-manieth of its like it was. Where
the golden run has no such op any more, that is said, and nothing is struck: another op of that number would
show nothing of the failure.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from outlive_harness.plan import Plan
from outlive_harness.trace import Op

from .golden import Record

#: Kinds whose target is a link's text, or what is copied from, and may name the box itself.
_LEAD_ANYWHERE = frozenset({"symlink", "copy"})
#: What an op did, and which of its like it was, by its number.
Marks = dict[str, list[str | int]]


def marks(record: Record, plan: Plan) -> Marks:
    """Return what tells the ops again that a plan names in the first run."""
    every = _every(record)
    return {str(number): list(every[number - 1]) for number in _named(plan) if number <= len(every)}


def rebased(
    record: Record, plan: Plan, known: Mapping[str, Sequence[str | int]]
) -> tuple[Plan | None, list[str]]:
    """Return a plan with the numbers that its ops have now, and what is to be said of that.

    No plan is returned where one of its ops is gone.
    """
    every = _every(record)
    where = {mark: number for number, mark in enumerate(every, start=1)}
    now: dict[int, int] = {}
    notes: list[str] = []
    for number in _named(plan):
        if str(number) not in known:
            continue
        text, nth = known[str(number)]
        found = where.get((str(text), int(nth)))
        if found is None:
            of = f" number {nth}" if int(nth) > 1 else ""
            there = (
                f"op {number} is {every[number - 1][0]!r}"
                if number <= len(every)
                else f"it makes {len(every)} ops"
            )
            was = f"op {number} was {text!r}{of}, and there is no such op now"
            notes.append(f"the pipeline has changed: {was} ({there})")
            return None, notes
        now[number] = found
        if found != number:
            notes.append(f"the pipeline has changed: op {number}, {text!r}, is now op {found}")
    if not notes:
        return plan, []
    first, *rest = plan
    lost = tuple(_renamed(name, now) for name in first.lost)
    if len(plan) > 1:
        notes.append("ops of recoveries are taken by their numbers")
    return (first._replace(at=now.get(first.at, first.at), lost=lost), *rest), notes


def _named(plan: Plan) -> list[int]:
    """Return the numbers of the first run's ops that a plan names."""
    first = plan[0]
    if first.fault == "timer":
        return []
    lost = (int(name.partition(".")[0]) for name in first.lost if "/" not in name)
    return sorted({first.at, *lost})


def _every(record: Record) -> list[tuple[str, int]]:
    """Return what each op of the golden run did, and the how-manieth of its like it is."""
    counted: Counter[str] = Counter()
    found = []
    for op in record.ops:
        text = told_by(record, op)
        counted[text] += 1
        found.append((text, counted[text]))
    return found


def told_by(record: Record, op: Op) -> str:
    """Return what an op is told by: what it does, and to which file, whatever its name has of a run's own."""
    text = f"{op.kind} {record.fold(op.path)}" + (f" -> {record.fold(op.target)}" if op.target else "")
    return _box(record).sub("{box}", text) if op.kind in _LEAD_ANYWHERE else text


def _box(record: Record) -> re.Pattern[str]:
    """Return what matches a box of the record's session: another session's box is elsewhere."""
    root = os.path.dirname(os.path.dirname(record.place))
    several = {path.lstrip("/") for path in (root, os.path.realpath(root))}
    return re.compile(rf"/?(?:{'|'.join(map(re.escape, sorted(several)))})/w[0-9]{{3}}/box(?=/|$)")


def _renamed(name: str, now: Mapping[int, int]) -> str:
    op, dot, part = name.partition(".")
    return f"{now[int(op)]}{dot}{part}" if "/" not in name and int(op) in now else name
