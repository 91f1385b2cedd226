"""Causes: violations from one line of the program are one cause, shown by the smallest example."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from outlive_harness.results.findings import Violation
from outlive_harness.results.plan import parse_plan, size

_NUMBERS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Cause:
    """Violations that one change would cure.

    Attributes:
        lead: the smallest example, preferably a new one: the fewest crashes, the fewest lost ops, the
            earliest.
        others: the other violations: by other faults, or on other paths.
    """

    lead: Violation
    others: tuple[Violation, ...] = ()


def causes(violations: Iterable[Violation]) -> list[Cause]:
    """Group violations by kind, source line, and path with its numbers folded, in the order given.

    A violation without a known line is a cause of its own.
    """
    groups: dict[tuple[str, str, str], list[Violation]] = {}
    for number, one in enumerate(violations):
        spot = location(one)
        line = f"{spot[0]}:{spot[1]}" if spot is not None else one.source or str(number)
        groups.setdefault((one.kind, line, _NUMBERS.sub("#", one.path)), []).append(one)
    found = []
    for several in groups.values():
        lead = min(several, key=lambda one: (one.known, smallness(one)))
        found.append(Cause(lead, tuple(one for one in several if one is not lead)))
    return found


_LOCATION = re.compile(
    r"(?P<file>[^`].*?):(?P<line>[0-9]+)(?:(?: in |, running |, in another thread).*)?", re.DOTALL
)


def location(violation: Violation) -> tuple[str, int] | None:
    """Return the file and the line that a violation comes from; None if its source is not a line."""
    return located(violation.source)


def located(source: str) -> tuple[str, int] | None:
    """Return the parts of ``FILE:LINE in FUNCTION``; None for any other text."""
    match = _LOCATION.fullmatch(source)
    return (match["file"], int(match["line"])) if match else None


def smallness(violation: Violation) -> tuple[bool, object]:
    """Return a key for comparing examples; one without a crash is the smallest."""
    return (False, 0) if not violation.point else (True, size(parse_plan(violation.point)))
