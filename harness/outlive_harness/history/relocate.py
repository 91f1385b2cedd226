"""Replay ids that survive edits: an op whose number has changed is found by its mark.

If the golden run no longer has such an op, nothing is injected: another op of that number would not show the
failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from outlive_harness.golden.marks import all_marks, named
from outlive_harness.golden.record import Record
from outlive_harness.results.plan import Plan


def relocated(
    record: Record, plan: Plan, known: Mapping[str, Sequence[str | int]]
) -> tuple[Plan | None, list[str]]:
    """Return a plan with the present numbers of its ops, or None if one is gone, and notes for the user."""
    every = all_marks(record)
    where = {mark: number for number, mark in enumerate(every, start=1)}
    now: dict[int, int] = {}
    notes: list[str] = []
    for number in named(plan):
        if str(number) not in known:
            continue
        text, nth = known[str(number)]
        found = where.get((str(text), int(nth)))
        if found is None:
            return None, [*notes, _gone(number, f"{text!r}", int(nth), every)]
        now[number] = found
        if found != number:
            notes.append(f"the pipeline has changed: op {number}, {text!r}, is now op {found}")
    if not notes:
        return plan, []
    first, *rest = plan
    lost = tuple(_renumbered(name, now) for name in first.lost)
    if len(plan) > 1:
        notes.append("ops of recoveries are taken by their numbers")
    return (first._replace(at=now.get(first.at, first.at), lost=lost), *rest), notes


def _gone(number: int, text: str, nth: int, every: Sequence[tuple[str, int]]) -> str:
    """Return a sentence about an op that the golden run no longer has."""
    of = f" number {nth}" if nth > 1 else ""
    now = f"op {number} is {every[number - 1][0]!r}" if number <= len(every) else f"it makes {len(every)} ops"
    was = f"op {number} was {text}{of}, and there is no such op now"
    return f"the pipeline has changed: {was} ({now})"


def _renumbered(name: str, now: Mapping[int, int]) -> str:
    op, dot, part = name.partition(".")
    return f"{now[int(op)]}{dot}{part}" if "/" not in name and int(op) in now else name
