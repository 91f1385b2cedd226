"""The trials of a scenario without a verdict yet, from which a run that was cut short can be resumed.

The file's first line says what the trials rest on. Then each trial of one crash has a line of JSON; deeper
ones start from files that are gone with the run. A last line that was cut off is ignored.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

from outlive_harness.results.findings import Finding
from outlive_harness.results.json_text import read_json
from outlive_harness.results.plan import Plan, parse_plan, plan_text
from outlive_harness.results.trials import Outcome, Trial


class UnfinishedTrials:
    """Trials that are kept, and those that an earlier run kept.

    Args:
        path: the file.
        basis: what the trials rest on; trials that rest on anything else are dropped.
        resume: whether earlier trials are reused; if not, they are removed at once.
    """

    def __init__(self, path: Path, basis: Mapping[str, Any], *, resume: bool) -> None:
        self._path = path
        self._head = json.dumps(basis, sort_keys=True)
        self._known: dict[str, dict[Plan, Trial]] = {}
        self._file: TextIO | None = None
        self._is_begun = resume and self._read()
        if not self._is_begun:
            self._remove()

    def known(self, search: str) -> dict[Plan, Trial]:
        """Return an earlier run's trials of one search, by plan."""
        return self._known.get(search, {})

    def add(self, search: str, trial: Trial) -> None:
        """Keep a trial, if its outcome is final."""
        if trial.trouble or len(trial.plan) != 1:
            return
        with contextlib.suppress(OSError):  # then the trial is repeated
            file = self._opened()
            file.write(json.dumps([search, _written(trial)]) + "\n")
            file.flush()

    def forget(self) -> None:
        """Remove the trials, as there is a verdict."""
        self.close()
        self._remove()

    def close(self) -> None:
        """Close the file, and keep it."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    def _opened(self) -> TextIO:
        """Return the open file, always the same, as another run may put its own under the name."""
        if self._file is None and self._is_begun:
            self._file = self._path.open("a", encoding="ascii")
        elif self._file is None:
            self._remove()
            self._file = self._path.open("x", encoding="ascii")
            self._file.write(self._head + "\n")
        return self._file

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _read(self) -> bool:
        try:
            head, *lines = self._path.read_text(encoding="ascii").splitlines(keepends=True)
            if head != self._head + "\n":
                return False
            if lines and not lines[-1].endswith("\n"):
                os.truncate(self._path, len(head) + sum(map(len, lines[:-1])))
                del lines[-1]
            for line in lines:
                search, facts = read_json(line)
                trial = _read_back(facts)
                self._known.setdefault(search, {})[trial.plan] = trial
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # missing, or another version's
            self._known.clear()
            return False
        return True


def _written(trial: Trial) -> dict[str, Any]:
    facts = asdict(replace(trial, recovery=[]))
    return {**facts, "plan": plan_text(trial.plan), "outcome": trial.outcome.name}


def _read_back(facts: dict[str, Any]) -> Trial:
    left = tuple((path, what) for path, what in facts["left"])
    findings = {name: [Finding(**one) for one in facts[name]] for name in ("findings", "warnings")}
    more = {"plan": parse_plan(facts["plan"]), "outcome": Outcome[facts["outcome"]], "left": left}
    return Trial(**{**facts, **findings, **more})
