"""Crash points and plans: where faults strike, and how that is written."""

from __future__ import annotations

import re
from typing import NamedTuple

_POINT = re.compile(r"([a-z]+)@([1-9][0-9]*)(?:\.([1-9][0-9]*))?", re.ASCII)


class Point(NamedTuple):
    """A place where a fault strikes a run.

    Attributes:
        fault: its name.
        at: the number of the op that it strikes before; microseconds of wall time for ``timer``.
        part: bytes of a write that still reach the file (``torn``); 0 for none.
    """

    fault: str
    at: int
    part: int = 0

    def __str__(self) -> str:
        return f"{self.fault}@{self.at}.{self.part}" if self.part else f"{self.fault}@{self.at}"


Plan = tuple[Point, ...]


def plan_text(plan: Plan) -> str:
    """Write a plan as a replay id does."""
    return "+".join(str(point) for point in plan)


class PlanError(ValueError):
    """A text that is no plan."""


def parse_plan(text: str) -> Plan:
    """Read what plan_text() wrote.

    Raises:
        PlanError: it is not of the form ``FAULT@OP[+FAULT@OP...]``.
    """
    points = []
    for word in text.split("+"):
        match = _POINT.fullmatch(word)
        if match is None:
            raise PlanError(f"{text!r} is no plan: {word!r} should be FAULT@OP, for example kill@3")
        fault, at, part = match.groups(default="0")
        points.append(Point(fault, int(at), int(part)))
    return tuple(points)
