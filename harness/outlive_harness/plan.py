"""Crash points and plans: where faults strike, and how that is written."""

from __future__ import annotations

from typing import NamedTuple


class Point(NamedTuple):
    """A place where a fault strikes a run.

    Attributes:
        fault: its name.
        at: the number of the op that it strikes before; microseconds of wall time for ``timer``.
    """

    fault: str
    at: int

    def __str__(self) -> str:
        return f"{self.fault}@{self.at}"


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
    for part in text.split("+"):
        fault, at, number = part.partition("@")
        if not at or not fault or not number.isascii() or not number.isdigit() or int(number) < 1:
            raise PlanError(f"{text!r} is no plan: {part!r} should be FAULT@OP, for example kill@3")
        points.append(Point(fault, int(number)))
    return tuple(points)
