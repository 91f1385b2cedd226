"""What is kept under ``.outlive/``: failures that can be replayed, with their boxes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outlive import atomic_write
from outlive_harness.disk.removal import remove_tree
from outlive_harness.results.json_text import read_json
from outlive_harness.results.keywords import KEYWORDS, with_option
from outlive_harness.results.scenario import Readers, Scenario, ScenarioError

#: How many failures keep their boxes, and how many can be replayed as they failed.
KEPT, REMEMBERED = 10, 1000
#: Younger failures are of this run, which still shows their ids: they are not removed.
_BEGUN = time.time()


@dataclass(slots=True)
class Store:
    """The directory of one project."""

    root: Path

    def place(self, replay: str) -> Path:
        """Return the directory of one failure, with a name that a person recognises."""
        return self.root / "failures" / _file_name(replay)

    def result(self, name: str) -> Path:
        """Return the file of one scenario's result."""
        return self.root / "results" / f"{_file_name(name)}.json"

    def begin(self) -> None:
        """Make the directory, and keep it out of version control.

        Raises:
            OSError: nothing can be written there.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        mark = self.root / ".gitignore"
        if not mark.exists():  # an existing one may be the user's own
            with contextlib.suppress(FileExistsError):
                atomic_write(mark, "*\n", overwrite=False)

    def keep(self, replay: str, facts: dict[str, Any]) -> Path:
        """Write down what a replay needs, and remove boxes of older runs' failures.

        If the id belonged to another command, or had other options, that is written down too.

        Raises:
            OSError: nothing can be written there.
        """
        place = self.place(replay)
        earlier = _earlier(self.find(replay) or {}, facts)
        if earlier:
            facts = {**facts, "earlier": earlier}
        place.mkdir(parents=True, exist_ok=True)
        self.begin()
        temporary = place / f".failure-{os.getpid()}.json"
        temporary.write_text(json.dumps({"id": replay, **facts}, indent=2) + "\n")
        temporary.replace(place / "failure.json")
        self._prune()
        return place

    def find(self, replay: str) -> dict[str, Any] | None:
        """Return what was written down for a replay id; None if nothing was."""
        try:
            facts = read_json((self.place(replay) / "failure.json").read_text())
        except (OSError, ValueError):
            return None
        return facts if isinstance(facts, dict) else None

    def ids(self) -> list[str]:
        """Return the ids of all kept failures, the newest first."""
        found = []
        for path in self._newest():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                found.append(str(read_json(path.read_text())["id"]))
        return found

    def _newest(self) -> list[Path]:
        several: list[tuple[float, str, Path]] = []
        for path in (self.root / "failures").glob("*/failure.json"):
            with contextlib.suppress(FileNotFoundError):  # another process removed it just now
                several.append((path.stat().st_mtime, str(path), path))
        return [path for _, _, path in sorted(several, reverse=True)]

    def _prune(self) -> None:
        newest = [path.parent for path in self._newest()]
        boxed = [place for place in newest if any(_boxes(place))]
        for place in filter(_is_of_an_older_run, boxed[KEPT:]):
            for box in _boxes(place):
                remove_tree(box)
        for place in filter(_is_of_an_older_run, newest[REMEMBERED:]):
            remove_tree(place)


def _boxes(place: Path) -> list[Path]:
    return [box for name in ("golden", "crashed", "recovered") if (box := place / name).is_dir()]


def _is_of_an_older_run(place: Path) -> bool:
    try:
        return (place / "failure.json").stat().st_mtime < _BEGUN
    except FileNotFoundError:
        return False


#: Keywords that the command line may have changed in a scenario that a file declares.
ADDED = tuple(keyword.name for keyword in with_option("test", is_for_all=False))


def _earlier(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return in words what else an id was printed for, the most recent last."""
    then, this = before.get("scenario"), now.get("scenario")
    if not isinstance(then, dict) or not isinstance(this, dict):
        return []
    words = described(this)
    earlier = [*before.get("earlier", ()), described(then)]
    return [one for one in dict.fromkeys(earlier) if one != words][-_EARLIER:]


#: Keywords that distinguish two uses of one command.
_DISTINCTIVE = with_option("check", is_for_all=False)
#: How many earlier meanings of an id are remembered.
_EARLIER = 5


def described(facts: dict[str, Any]) -> str:
    """Return in words what a scenario that was written down runs, and with which options."""
    command = facts.get("command")
    what = shlex.join(map(str, command)) if command else str(facts.get("file", ""))
    given = {key.name: facts.get(key.name) for key in _DISTINCTIVE if facts.get(key.name) != key.default}
    return ", ".join([what, *(f"{name}={_shown(value)}" for name, value in given.items() if value)])


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _file_name(text: str) -> str:
    """Return a unique name for a file that a person recognises."""
    readable = "".join(c if c.isalnum() or c in "@+-_." else "-" for c in text)[:80]
    return f"{readable}-{hashlib.sha256(os.fsencode(text)).hexdigest()[:8]}"


#: Attributes of a scenario that are plain data, and can be written down.
_DATA = tuple(keyword for keyword in KEYWORDS if keyword.is_data)
#: Those that every kept failure has, whatever version wrote it.
_NEEDED = ("name", "command", "file", "line")


def write_down(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario's declaration as plain data; a function, which a file declares, is left out."""
    names = [*(keyword.name for keyword in _DATA), "file", "line"]
    values = {name: getattr(scenario, name) for name in names}
    facts = {name: None if callable(value) else value for name, value in values.items()}
    facts["read"] = [(glob, reader if isinstance(reader, str) else "") for glob, reader in scenario.read]
    return facts


def with_functions(kept: Readers, declared: Readers) -> Readers:
    """Return readers that were written down, with the functions that the scenario's file now declares."""
    functions = {glob: reader for glob, reader in declared if callable(reader)}
    return tuple(
        (glob, functions[glob] if glob in functions and not reader else reader) for glob, reader in kept
    )


def read_back(facts: dict[str, Any]) -> Scenario:
    """Return a command's scenario from the data that write_down() gave.

    A keyword that is younger than the kept failure has its default.

    Raises:
        ScenarioError: another version wrote the data.
    """
    for name in _NEEDED:
        if name not in facts:
            raise ScenarioError(f"the kept failure has no field {name!r}: it was written by another version")
    values = {keyword.name: facts.get(keyword.name, keyword.default) for keyword in KEYWORDS}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    values["read"] = tuple((glob, reader) for glob, reader in values["read"])
    return Scenario(values, facts["file"], facts["line"])
