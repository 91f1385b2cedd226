"""One entry a cause: violations that come from one line of the program, led by the smallest example."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from outlive_harness.explore.results import Violation
from outlive_harness.plan import parse_plan, size

_NUMBERS = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Cause:
    """Violations that one change would cure.

    Attributes:
        lead: the smallest example, of the new ones first: the fewest crashes, the fewest ops lost, the
            earliest.
        others: what else it shows as: by other faults, on other paths.
    """

    lead: Violation
    others: tuple[Violation, ...] = ()


def causes(violations: Iterable[Violation]) -> list[Cause]:
    """Group violations by kind, source line, and path with its numbers folded; in the order given.

    Those whose line is not known are each alone.
    """
    groups: dict[tuple[str, str, str], list[Violation]] = {}
    for number, one in enumerate(violations):
        spot = location(one)
        line = f"{spot[0]}:{spot[1]}" if spot is not None else one.source or str(number)
        groups.setdefault((one.kind, line, _NUMBERS.sub("#", one.path)), []).append(one)
    made = []
    for several in groups.values():
        lead = min(several, key=lambda one: (one.known, smallness(one)))
        made.append(Cause(lead, tuple(one for one in several if one is not lead)))
    return made


_PLACE = re.compile(
    r"(?P<file>[^`].*?):(?P<line>[0-9]+)(?:(?: in |, running |, in another thread).*)?", re.DOTALL
)


def location(violation: Violation) -> tuple[str, int] | None:
    """Return the file and the line that a violation comes from; None where it is no line of a program."""
    return located(violation.source)


def located(source: str) -> tuple[str, int] | None:
    """Take ``FILE:LINE in FUNCTION`` apart; None for anything else."""
    match = _PLACE.fullmatch(source)
    return (match["file"], int(match["line"])) if match else None


def smallness(violation: Violation) -> tuple[bool, object]:
    """Return what examples are compared by; what needs no crash is the smallest."""
    return (False, 0) if not violation.point else (True, size(parse_plan(violation.point)))
