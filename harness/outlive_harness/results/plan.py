"""Crash points and plans: where faults are injected, and how that is written."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

_NUMBER = "[1-9][0-9]*"
#: A lost op or part of one, or a range of ops: ``28``, ``28.1``, ``1/28``, ``28..40``.
_LOST = rf"(?:{_NUMBER}/)?{_NUMBER}(?:\.(?:{_NUMBER}|\.{_NUMBER}))?"
_POINT = re.compile(rf"([a-z0-9]+)@({_NUMBER})(?:\.({_NUMBER})|-({_LOST}(?:,{_LOST})*))?", re.ASCII)
_RANGE = re.compile(r"((?:[0-9]+/)?)([0-9]+)\.\.([0-9]+)")
#: The greatest number of ops in a range: no recording that could be explored has more.
_LONGEST = 1_000_000


class Point(NamedTuple):
    """A crash point: a place in a run where a fault is injected.

    Attributes:
        fault: the fault's name.
        at: the number of the op before which, or after which (``power``), it is injected; microseconds of
            wall time for ``timer``.
        part: bytes of a write that still reach the file (``torn``, ``full``); the number of a signal other
            than SIGTERM (``term``); 1 if the journal was just written (``ext4``, ...); else 0.
        lost: what had not reached the disk (``power``): numbers of ops, ``28``, or of parts of ops, ``28.1``;
            for an earlier run of the plan with the run's number, ``1/28``.
    """

    fault: str
    at: int
    part: int = 0
    lost: tuple[str, ...] = ()

    def __str__(self) -> str:
        part = f".{self.part}" if self.part else ""
        lost = f"-{','.join(_ranges(self.lost))}" if self.lost else ""
        return f"{self.fault}@{self.at}{part}{lost}"


def _ranges(names: Iterable[str]) -> list[str]:
    """Return names with three or more whole ops in a row as a range."""
    several: list[list[tuple[str, str]]] = []
    for name in names:
        run, slash, op = name.rpartition("/")
        last = several[-1][-1] if several else ("", "")
        if op.isdigit() and last[1].isdigit() and last[0] == run + slash and int(last[1]) + 1 == int(op):
            several[-1].append((run + slash, op))
        else:
            several.append([(run + slash, op)])
    words: list[str] = []
    for (run, first), *rest in several:
        if len(rest) > 1:
            words.append(f"{run}{first}..{rest[-1][1]}")
        else:
            words += [run + first, *(run + op for _, op in rest)]
    return words


def _names(text: str, word: str) -> tuple[str, ...]:
    """Return the names in a list of names and ranges, separated by commas."""
    names: list[str] = []
    for part in filter(None, text.split(",")):
        match = _RANGE.fullmatch(part)
        if match is None:
            names.append(part)
            continue
        first, last = int(match[2]), int(match[3])
        if not first <= last < first + _LONGEST:
            raise PlanError(f"{word!r}: {part!r} must be a range of ops, as 28..40")
        names += [f"{match[1]}{op}" for op in range(first, last + 1)]
    return tuple(names)


Plan = tuple[Point, ...]


def plan_text(plan: Plan) -> str:
    """Return a plan as it is written in a replay id."""
    return "+".join(str(point) for point in plan)


def digest(plan: Plan) -> str:
    """Return a short name for a plan, as part of a file name: a plan's text may have any length."""
    return hashlib.blake2b(plan_text(plan).encode(), digest_size=12).hexdigest()


def size(plan: Plan) -> tuple[int, int, Plan]:
    """Return a sort key for plans: fewer crashes first, then fewer lost ops, then earlier ops."""
    return len(plan), sum(len(point.lost) for point in plan), plan


class PlanError(ValueError):
    """A text is not a plan."""


def parse_plan(text: str) -> Plan:
    """Return the plan that a text means; the reverse of plan_text().

    Raises:
        PlanError: the text is not of the form ``FAULT@OP[+FAULT@OP...]``.
    """
    points = []
    for word in text.split("+"):
        match = _POINT.fullmatch(word)
        if match is None:
            raise PlanError(f"{text!r} is not a plan: {word!r} should be FAULT@OP, for example kill@3")
        fault, at, part, lost = match.groups(default="")
        points.append(Point(fault, int(at), int(part or 0), _names(lost, word)))
    return tuple(points)
