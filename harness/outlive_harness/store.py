"""What is kept under ``.outlive/``: failures that can be replayed, with their boxes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .disk.tree import remove_tree
from .scenario import Scenario, ScenarioError

#: How many failures keep their boxes.
KEPT = 10


@dataclass(slots=True)
class Store:
    """The directory of one project."""

    root: Path

    def place(self, replay: str) -> Path:
        """Return the directory of one failure, named so that a person recognises it."""
        return self.root / "failures" / _file_name(replay)

    def result(self, name: str) -> Path:
        """Return where one scenario's result is kept."""
        return self.root / "results" / f"{_file_name(name)}.json"

    def begin(self) -> None:
        """Make the directory, which is nothing to put under version control.

        Raises:
            OSError: nothing can be written there.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / ".gitignore").write_text("*\n")

    def keep(self, replay: str, facts: dict[str, Any]) -> Path:
        """Write down what a replay needs, and let go of the oldest failures."""
        place = self.place(replay)
        place.mkdir(parents=True, exist_ok=True)
        self.begin()
        temporary = place / ".failure.json"
        temporary.write_text(json.dumps({"id": replay, **facts}, indent=2) + "\n")
        temporary.replace(place / "failure.json")
        self._prune()
        return place

    def find(self, replay: str) -> dict[str, Any] | None:
        """Return what was written down for a replay id, or None."""
        try:
            facts = json.loads((self.place(replay) / "failure.json").read_text())
        except (OSError, ValueError):
            return None
        return facts if isinstance(facts, dict) else None

    def ids(self) -> list[str]:
        """Return the ids of all kept failures, the newest first."""
        found = []
        for path in self._newest():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                found.append(str(json.loads(path.read_text())["id"]))
        return found

    def _newest(self) -> list[Path]:
        several: list[tuple[float, str, Path]] = []
        for path in (self.root / "failures").glob("*/failure.json"):
            with contextlib.suppress(FileNotFoundError):  # another process let go of it just now
                several.append((path.stat().st_mtime, str(path), path))
        return [path for _, _, path in sorted(several, reverse=True)]

    def _prune(self) -> None:
        for path in self._newest()[KEPT:]:
            remove_tree(path.parent)


def _file_name(text: str) -> str:
    """Return a name for a file that a person recognises, no two alike."""
    readable = "".join(c if c.isalnum() or c in "@+-_." else "-" for c in text)[:80]
    return f"{readable}-{hashlib.sha256(os.fsencode(text)).hexdigest()[:8]}"


#: Fields of a scenario that are data, and so can be written down.
_PLAIN = (
    "name", "command", "outputs", "expect", "faults", "depth", "restarts", "timeout", "append_only",
    "ignore", "litter", "acks", "profile", "input", "file", "line",
)  # fmt: skip


def write_down(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario's declaration as plain data."""
    return {key: getattr(scenario, key) for key in _PLAIN}


def read_back(facts: dict[str, Any]) -> Scenario:
    """Make a command's scenario from what write_down() gave.

    Raises:
        ScenarioError: it was written by another version.
    """
    try:
        values: dict[str, Any] = {key: tuple(v) if isinstance(v := facts[key], list) else v for key in _PLAIN}
    except KeyError as error:
        raise ScenarioError(
            f"the kept failure has no field {error}: it was written by another version"
        ) from error
    return Scenario(**values, body=None, setup=None, check=None)
