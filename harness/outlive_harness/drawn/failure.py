"""A failure of a drawn example: kept with its input, so that it can be replayed, and told."""

from __future__ import annotations

import os
from pathlib import Path

from outlive_harness import __version__
from outlive_harness.disk.copying import copy_tree
from outlive_harness.disk.removal import remove_tree
from outlive_harness.golden.marks import marks
from outlive_harness.golden.record import Record
from outlive_harness.history.store import Store, write_down
from outlive_harness.report.escaped import visible
from outlive_harness.report.text import brief, explain
from outlive_harness.results.findings import Violation
from outlive_harness.results.plan import parse_plan
from outlive_harness.results.scenario import Scenario

#: The directory beside a kept failure that holds its input.
_INPUT = "input"
#: Set by pytest to the test that is under way.
_TEST = "PYTEST_CURRENT_TEST"


class NotSurvived(AssertionError):  # noqa: N818 - named as pytest's Failed is, for pytest's short summary
    """A pipeline does not survive a crash; the text says what, where, with which input, how to replay it."""

    __module__ = "builtins"  # pytest then shows it without a module


class Failures:
    """Keeps the failures of a process: of each test the last one, which is the smallest, and what was shown.

    Shrinking finds dozens of failures, of which hypothesis shows the last.

    Args:
        store: the project's directory of failures.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._last: dict[tuple[str, str], tuple[Path, object]] = {}  # each with what tells a change

    def keep(self, scenario: Scenario, record: Record, violation: Violation, *, is_shown: bool) -> Path:
        """Keep a failure with its input; remove the one that the same test had before, unless it was shown.

        Raises:
            OSError: nothing can be written there.
        """
        place = self.store.place(violation.replay)
        is_new = not place.exists()
        place.mkdir(parents=True, exist_ok=True)
        kept = _copy_of(scenario, place)
        facts = {
            "version": __version__,
            "kind": violation.kind,
            "message": violation.message,
            "marks": marks(record, parse_plan(violation.point)),
            "struck": violation.mark,
            "scenario": write_down(scenario) | {"input": kept},
        }
        self.store.keep(violation.replay, facts)
        test = scenario.name, os.environ.get(_TEST, "")
        earlier, written = self._last.pop(test, (None, None))
        if earlier is not None and earlier != place and _written(earlier) == written:
            remove_tree(earlier)  # no other process has kept the same failure since
        if not is_shown and (is_new or earlier == place):
            self._last[test] = place, _written(place)
        return place

    def keep_input(self, scenario: Scenario, name: str) -> Path:
        """Keep an input that fails with no crash, and return where.

        Raises:
            OSError: nothing can be written there.
        """
        place = self.store.place(name)
        place.mkdir(parents=True, exist_ok=True)
        self.store.begin()
        _copy_of(scenario, place)
        return place


def _written(place: Path) -> object:
    """Return what changes if a failure is kept once more."""
    try:
        info = (place / "failure.json").stat()
    except FileNotFoundError:
        return None
    return info.st_ino, info.st_mtime_ns


def _copy_of(scenario: Scenario, place: Path) -> str | None:
    """Copy a scenario's input, and return the copy; None if it has none."""
    if scenario.input is None:
        return None
    copy = place / _INPUT
    remove_tree(copy)
    copy.mkdir()
    copy_tree(Path(scenario.input), copy)
    return str(copy)


def told(violations: list[Violation], place: Path | None, store: Store) -> str:
    """Return the text of a failure; only the first line is in pytest's short summary.

    Args:
        violations: what is wrong, the gravest first.
        place: where the failure is kept; None if it is not.
        store: the project's directory of failures.
    """
    first, *others = violations
    lines = [f"violated: {brief(first)}", *explain(first)]
    lines += [f"  also: {brief(other)}" for other in others]
    if place is not None and (place / _INPUT).is_dir():
        lines.append(f"  input:  {visible(_from_here(place / _INPUT))}")
    there = store.root.parent
    if first.replay and there != Path.cwd():
        lines.append(f"  in:     {visible(str(there))}")
    return "\n".join(lines)


def _from_here(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(os.pardir) else relative
