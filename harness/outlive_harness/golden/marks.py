"""Marks: after an edit an op is recognised by what it does, not by its number."""

from __future__ import annotations

import os
import re
from collections import Counter

from outlive_harness.faults.table import FAULTS
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import Plan, Point

from .record import Record

#: For each op that a plan names, by its number: its text, and its index (from 1) among ops of the same text.
Marks = dict[str, list[str | int]]


def marks(record: Record, plan: Plan) -> Marks:
    """Return the marks of the ops of the first run that a plan names."""
    every = all_marks(record)
    return {str(number): list(every[number - 1]) for number in named(plan) if number <= len(every)}


def named(plan: Plan) -> list[int]:
    """Return the numbers of the first run's ops that a plan names."""
    first = plan[0]
    if not FAULTS[first.fault].counts_ops:
        return []
    return sorted({first.at, *lost_ops(first)})


def lost_ops(point: Point) -> list[int]:
    """Return the numbers of the run's own ops that a power cut lost, at least in part."""
    return [int(name.partition(".")[0]) for name in point.lost if "/" not in name]


def all_marks(record: Record) -> list[tuple[str, int]]:
    """Return, for each op of the golden run, its text and its index among ops of the same text."""
    counted: Counter[str] = Counter()
    found = []
    for op in record.ops:
        text = mark_of(record, op)
        counted[text] += 1
        found.append((text, counted[text]))
    return found


def mark_of(record: Record, op: Op) -> str:
    """Return a text for an op and its files; parts of names that differ from run to run are ``*``."""
    text = f"{op.kind} {record.fold(op.path)}" + (f" -> {record.fold(op.target)}" if op.target else "")
    return _box(record).sub("{box}", text) if op.traits.names_anything else text


def _box(record: Record) -> re.Pattern[str]:
    """Return a pattern for any box of the record's session, as each session has a directory of its own."""
    root = os.path.dirname(os.path.dirname(record.place))
    several = {path.lstrip("/") for path in (root, os.path.realpath(root))}
    return re.compile(rf"/?(?:{'|'.join(map(re.escape, sorted(several)))})/w[0-9]{{3}}/box(?=/|$)")
