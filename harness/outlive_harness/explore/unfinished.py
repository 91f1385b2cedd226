"""The trials of a scenario that has no verdict yet, so that a run that is cut short goes on from there.

A line of JSON for each trial of one crash, as it is done, under what it came of; deeper ones start from files
that are gone with the run. A last line that was cut off is left out.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

from outlive_harness.json_text import read_json
from outlive_harness.plan import Plan, parse_plan, plan_text

from .results import Finding, Trial


class Unfinished:
    """Trials that are kept, and those that an earlier run kept.

    Args:
        path: the file.
        came_of: what the trials come of; those of anything else are none.
        resume: whether earlier ones are of use; else they are forgotten at once.
    """

    def __init__(self, path: Path, came_of: Mapping[str, Any], *, resume: bool) -> None:
        self._path = path
        self._head = json.dumps(came_of, sort_keys=True)
        self._known: dict[str, dict[Plan, Trial]] = {}
        self._file: TextIO | None = None
        self._is_begun = resume and self._read()
        if not self._is_begun:
            self._remove()

    def known(self, campaign: str) -> dict[Plan, Trial]:
        """Return what an earlier run did of one campaign, by plan."""
        return self._known.get(campaign, {})

    def add(self, campaign: str, trial: Trial) -> None:
        """Keep a trial, if it says something that will not change."""
        if trial.trouble or len(trial.plan) != 1:
            return
        with contextlib.suppress(OSError):  # then it is done again
            file = self._opened()
            file.write(json.dumps([campaign, _written(trial)]) + "\n")
            file.flush()

    def forget(self) -> None:
        """Let go of them: there is a verdict."""
        self.close()
        self._remove()

    def close(self) -> None:
        """Keep what was kept, and add no more."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    def _opened(self) -> TextIO:
        """Return the file, the same each time: another run may put its own under the name."""
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
                campaign, facts = read_json(line)
                trial = _read_back(facts)
                self._known.setdefault(campaign, {})[trial.plan] = trial
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or of another version
            self._known.clear()
            return False
        return True


def _written(trial: Trial) -> dict[str, Any]:
    return {**asdict(replace(trial, recovery=[])), "plan": plan_text(trial.plan)}


def _read_back(facts: dict[str, Any]) -> Trial:
    left = tuple((path, what) for path, what in facts["left"])
    findings = {name: [Finding(**one) for one in facts[name]] for name in ("findings", "warnings")}
    return Trial(**{**facts, **findings, "plan": parse_plan(facts["plan"]), "left": left})
