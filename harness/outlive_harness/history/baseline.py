"""The baseline: a file of known violations, which fail nothing; but one that is gone fails the run.

So a project that has failures can start to use a gate, and the file cannot rot. A violation is recognised by
its scenario, kind, fault and file, with digits folded, and not by a line or the number of an op, which change
with each edit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from outlive import atomic_write
from outlive_harness.results.findings import Violation
from outlive_harness.results.json_text import read_json
from outlive_harness.results.scenario import ScenarioError
from outlive_harness.results.verdicts import ScenarioResult, Verdict

SCHEMA = 1
_DIGITS = re.compile(r"[0-9]+")


class Known(NamedTuple):
    """What a violation is recognised by."""

    scenario: str
    kind: str
    fault: str
    path: str

    def __str__(self) -> str:
        of = f" of {self.path}" if self.path else ""
        return f"{self.kind}{of}" + (f" ({self.fault})" if self.fault else "")


def known_by(name: str, violation: Violation) -> Known:
    """Return what a scenario's violation is recognised by."""
    return Known(name, violation.kind, violation.fault, without_digits(violation.path))


def without_digits(path: str) -> str:
    """Return a path with each number as ``#``: names that differ in numbers alone are one."""
    return _DIGITS.sub("#", path)


def known_count(count: int) -> str:
    """Return a count of known violations in words."""
    return f"{count} known violation{'s' * (count != 1)}"


@dataclass(frozen=True, slots=True)
class Baseline:
    """The violations of one file.

    Attributes:
        path: the file.
        known: the violations in it.
        takes_all: whether it is being written, so that every violation is known.
    """

    path: Path
    known: frozenset[Known] = field(default_factory=frozenset)
    takes_all: bool = False

    def split(self, result: ScenarioResult) -> tuple[list[Violation], list[Known]]:
        """Return a scenario's new violations, and its known ones that are gone.

        A violation is gone only if all points of its fault were tried.
        """
        if self.takes_all:
            return [], []
        here = {known_by(result.name, one) for one in result.violations}
        new = [one for one in result.violations if known_by(result.name, one) not in self.known]
        tried = _fully_tried(result)
        gone = [one for one in self.of(result.name) if one.fault in tried and one not in here]
        return new, gone

    def mark(self, result: ScenarioResult) -> None:
        """Mark the known violations, and sort them behind the new ones."""
        for one in result.violations:
            one.known = self.takes_all or known_by(result.name, one) in self.known
        result.violations.sort(key=lambda one: one.known)

    def of(self, name: str) -> list[Known]:
        """Return the known violations of one scenario."""
        return sorted(one for one in self.known if one.scenario == name)


def read(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        ScenarioError: the file is missing, damaged, or from another version.
    """
    try:
        facts = read_json(path.read_text(encoding="utf-8"))
        if facts["schema"] != SCHEMA:
            raise ScenarioError(
                f"{path}: schema={facts['schema']!r} is not {SCHEMA}: another version wrote it"
            )
        return Baseline(path, frozenset(_known(one) for one in facts["violations"]))
    except FileNotFoundError as error:
        raise ScenarioError(f"--baseline={str(path)!r} is not there; --update-baseline writes it") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScenarioError(f"--baseline={str(path)!r} cannot be read: {error}") from error


def _known(facts: dict[str, Any]) -> Known:
    odd = [value for value in facts.values() if not isinstance(value, str)]
    if odd:
        raise TypeError(f"{odd[0]!r} is not a text")
    return Known(**facts)


def updated(baseline: Baseline, results: Iterable[ScenarioResult]) -> Baseline:
    """Return a baseline with the violations of this run; of what was not run it keeps the known ones."""
    known = set(baseline.known)
    for result in results:
        if result.expected:
            continue
        is_judged = result.verdict not in (Verdict.UNKNOWN, Verdict.SKIPPED)
        tried = _fully_tried(result) if is_judged else set()
        known -= {one for one in baseline.of(result.name) if one.fault in tried}
        known |= {known_by(result.name, one) for one in result.violations}
    return Baseline(baseline.path, frozenset(known))


def _fully_tried(result: ScenarioResult) -> set[str]:
    """Return the faults of which all points were tried: after a sample nothing is known to be gone."""
    return {"", *(name for name, one in result.faults.items() if one.tested >= one.points)}


def write(baseline: Baseline) -> None:
    """Write a baseline.

    Raises:
        OSError: it cannot be written.
    """
    several: Sequence[dict[str, Any]] = [one._asdict() for one in sorted(baseline.known)]
    atomic_write(baseline.path, json.dumps({"schema": SCHEMA, "violations": several}, indent=1) + "\n")
