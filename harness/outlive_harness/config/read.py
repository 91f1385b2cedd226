"""The configuration of a project: found, read, and put into scenarios."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from outlive_harness.results.keywords import NAMES
from outlive_harness.results.scenario import Scenario
from outlive_harness.results.value_kinds import ScenarioError

from .table import KEYS, ON_THE_LINE, SETTINGS, WITH_OPTION, checked

#: The file, and the table in it.
NAME, TABLE = "pyproject.toml", "[tool.outlive]"


@dataclass(frozen=True, slots=True)
class Config:
    """What a project says for all of its scenarios.

    Attributes:
        file: the file that was read; None if there is none.
        values: the value of each key that is given, as its option or its keyword has it.
    """

    file: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """The values of options that are no keywords."""
        return {key: value for key, value in self.values.items() if key in SETTINGS}

    def fill(self, one: Scenario, *, door: str, given: Collection[str] = ()) -> None:
        """Put values into a scenario: patterns are added, others stand where it says nothing itself.

        Args:
            one: the scenario.
            door: the command whose options these are defaults of: ``test`` or ``check``.
            given: keywords that the command line gives: they are not defaults any more.
        """
        all_are_outputs = door == "test" and not one.outputs and one.check is None
        for name, keyword in WITH_OPTION.items():
            if name not in self.values or name in given or door not in keyword.doors:
                continue
            value, own = self.values[name], getattr(one, name)
            if keyword.is_added:
                if not (name == "outputs" and all_are_outputs):
                    setattr(one, name, (*own, *(glob for glob in value if glob not in own)))
            elif own == keyword.default:
                setattr(one, name, value)


def find(start: Path) -> Path | None:
    """Return the nearest pyproject.toml of a directory and those above it; None if there is none."""
    files = (place / NAME for place in (start, *start.parents))
    return next((file for file in files if os.path.isfile(file)), None)  # False, too, where none may look


def read(start: Path) -> Config:
    """Return the configuration that is valid in a directory.

    Raises:
        ScenarioError: the file cannot be read, or a key or a value in it is wrong; the message says which.
    """
    file = find(start.absolute())
    if file is None:
        return Config()
    try:
        whole = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ScenarioError(f"{file} cannot be read: {error}") from error
    tools = whole.get("tool", {})
    table = tools.get("outlive", {}) if isinstance(tools, dict) else {}
    if not isinstance(table, dict):
        raise ScenarioError(
            f"{file}: tool.outlive={table!r} must be a table: {TABLE}, and a key on each line"
        )
    try:
        return Config(file, _values(table, file.parent))
    except ScenarioError as error:
        raise ScenarioError(f"{file}: {TABLE} {error}") from None


def _values(table: Mapping[str, object], home: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for written, value in table.items():
        key = written.replace("-", "_")
        if key not in KEYS:
            raise ScenarioError(f"{written}={value!r} is not a key: {_instead(key)}")
        if key in found:
            raise ScenarioError(f"{written}={value!r} is given twice, with - and with _: remove one of them")
        found[key] = checked(key, value, home)
    return found


def _instead(key: str) -> str:
    """Return what to write in place of a key that there is not."""
    if key in ON_THE_LINE:
        return f"give --{key.replace('_', '-')} on the command line"
    if key in NAMES:
        return f"{key} is said by each scenario itself"
    near = difflib.get_close_matches(key, KEYS, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(KEYS))}"
