"""Regressions: failures that are kept in a file beside the scenario's, and tried first from then on.

The file should be committed, so that everyone and CI looks for a failure that only a deep or a random plan
showed. It holds the marks of ops, by which they are found again when their numbers change.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from outlive import atomic_write
from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.marks import Marks, marks
from outlive_harness.golden.record import Record
from outlive_harness.jobs.shared import alone
from outlive_harness.results.findings import Violation
from outlive_harness.results.json_text import read_json
from outlive_harness.results.options import Options
from outlive_harness.results.plan import Plan, parse_plan
from outlive_harness.results.scenario import Scenario, ScenarioError

from .relocate import relocated

SCHEMA = 1
#: The directory, beside the scenario's file.
DIRECTORY = "regressions"
#: The most failures of one scenario that are kept: each is another trial in every run.
_MOST = 16
#: How many are tried of a file that holds more, as it was written by hand or merged.
_TRIED = 64


@dataclass(frozen=True, slots=True)
class Kept:
    """One failure.

    Attributes:
        point: its plan, as in a replay id.
        kind: the kind of the violation.
        path: the file that was violated.
        marks: the marks of the ops that the plan names.
    """

    point: str
    kind: str
    path: str = ""
    marks: Marks = field(default_factory=dict)


class Regressions:
    """The failures of one scenario, in a file that need not exist.

    Args:
        path: the file; None to keep and to try nothing.

    Raises:
        ScenarioError: the file is damaged, or from another version.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._kept = _read(path) if path is not None else []
        self._by_plan: dict[Plan, Kept] = {}

    def plans(self, record: Record) -> tuple[list[Plan], list[str]]:
        """Return the plans that still have their ops, and notes; drop the others.

        Plans with a fault that this version does not have are kept, and so are those past a bound.
        """
        notes: list[str] = []
        self._by_plan = {}
        if len(self._kept) > _TRIED:
            notes.append(f"{self._shown}: of {len(self._kept)} failures the first {_TRIED} are tried")
        for one in self._kept[:_TRIED]:
            points = parse_plan(one.point)
            unknown = [point.fault for point in points if point.fault not in FAULTS]
            if unknown:
                why = f"this version has no fault {unknown[0]!r}"
                notes.append(f"{self._shown}: {one.point} is kept, but not tried: {why}")
                continue
            plan, said = relocated(record, points, one.marks)
            if plan is None:
                notes.append(self._dropped(one, said[-1]))
            else:
                self._by_plan.setdefault(plan, one)
        return list(self._by_plan), notes

    @property
    def _shown(self) -> str:
        assert self.path is not None
        return os.path.relpath(self.path)

    def marks_of(self, plan: Plan) -> Marks:
        """Return the marks of the ops that a plan names; none if the plan is not kept."""
        return next((one.marks for one in self._kept if parse_plan(one.point) == plan), {})

    def drop(self, plan: Plan, why: str) -> str:
        """Drop a failure that cannot be tried any more; return a note about it."""
        return self._dropped(self._by_plan[plan], why)

    def _dropped(self, one: Kept, why: str) -> str:
        with contextlib.suppress(OSError):  # then it is dropped again the next time
            self._change(lambda known: [other for other in known if other.point != one.point])
        return f"{self._shown}: {one.point} is dropped: {why}"

    def keep(self, record: Record, violations: Sequence[Violation]) -> bool:
        """Add failures that are not kept yet; return whether all of them are kept now.

        Raises:
            OSError: the file cannot be written.
        """
        if self.path is None:
            return False
        wanted = {
            one.point: Kept(one.point, one.kind, record.fold(one.path), marks(record, parse_plan(one.point)))
            for one in violations
        }

        def added(known: list[Kept]) -> list[Kept]:
            there = {one.point for one in known}
            new = [one for point, one in wanted.items() if point not in there]
            return [*known, *new[: max(0, _MOST - len(known))]]

        self.path.parent.mkdir(parents=True, exist_ok=True)
        return wanted.keys() <= {one.point for one in self._change(added)}

    def _change(self, change: Callable[[list[Kept]], list[Kept]]) -> list[Kept]:
        assert self.path is not None
        with alone(self.path.parent):
            known = _read(self.path)
            several = change(known)
            if several != known:
                facts: dict[str, Any] = {"schema": SCHEMA, "failures": [asdict(one) for one in several]}
                atomic_write(self.path, json.dumps(facts, indent=1) + "\n")
        return several


def regressions_of(scenario: Scenario, options: Options) -> Regressions:
    """Return a scenario's regressions.

    Raises:
        ScenarioError: the file is damaged, or from another version.
    """
    return Regressions(file_of(scenario, options))


def file_of(scenario: Scenario, options: Options) -> Path | None:
    """Return the file of a scenario's regressions; None to keep and to try nothing.

    A command's file is under ``.outlive/``, as it has no file of its own.
    """
    if not options.regressions or scenario.expect:
        return None
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in scenario.name)[:80]
    if os.path.isfile(scenario.file):
        directory = Path(scenario.file).parent
        tail = "" if name == scenario.name else scenario.name
    else:  # several commands may have one name
        directory, tail = options.store.absolute(), repr(scenario.command)
    if tail:
        name += f"-{hashlib.sha256(os.fsencode(tail)).hexdigest()[:8]}"
    return directory / DIRECTORY / f"{name}.json"


def _read(path: Path) -> list[Kept]:
    try:
        facts = read_json(path.read_text(encoding="utf-8"))
        if facts["schema"] != SCHEMA:
            raise ScenarioError(f"{path} was written by another version: schema={facts['schema']!r}")
        several = [_checked(Kept(**one)) for one in facts["failures"]]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ScenarioError(f"{path} cannot be read ({error}); restore it, or remove it") from error
    return several


def _checked(one: Kept) -> Kept:
    """Return a failure that was read, with its fields checked.

    Raises:
        PlanError: its point is not a plan.
        ValueError, TypeError, AttributeError: a field has another type.
    """
    parse_plan(one.point)
    marks: Marks = {number: [str(text), int(nth)] for number, (text, nth) in one.marks.items()}
    return Kept(one.point, str(one.kind), str(one.path), marks)
