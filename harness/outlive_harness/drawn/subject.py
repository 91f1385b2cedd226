"""What a test hands in, a command or a scenario, as a scenario that can be run."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any

from outlive_harness.results.command_names import name_of
from outlive_harness.results.scenario import NO_FILE, Scenario, ScenarioError, scenario


class UntestableError(RuntimeError):
    """The golden run of a scenario gives nothing to compare with; the message says why."""


def check_scenario(scenario: object) -> None:
    """Return if a test can have a scenario run.

    Raises:
        ScenarioError: it cannot; the message says why.
    """
    if not isinstance(scenario, Scenario):
        raise ScenarioError(f"scenario={scenario!r} must be a scenario, made by @scenario(...)")
    if scenario.body is None and scenario.command is None:
        raise ScenarioError(f"scenario={scenario!r} has neither a body nor a command")
    if not scenario.name:
        raise ScenarioError(f"scenario={scenario!r} has no name: give it one with name=")
    if scenario.params and not scenario.given:
        raise ScenarioError(f"scenario={scenario!r} has params: run each of its cases()")
    if scenario.body is not None:
        _check_name(scenario)


def _check_name(scenario: Scenario) -> None:
    """Return if the process of a body, which imports its file, finds it there by its name.

    Raises:
        ScenarioError: no variable at the top of the file holds it, or another has its name.
    """
    holders = (module for module in list(sys.modules.values()) if _file_of(module) == scenario.file)
    for module in holders:
        held = [one for one in vars(module).values() if isinstance(one, Scenario) and one.body is not None]
        several = {id(case.body) for one in held for case in one.cases() if case.name == scenario.name}
        if len(several) > 1 and id(scenario.body) in several:
            raise ScenarioError(
                f"scenario={scenario!r} is not the only one of its name in its file: give each one of "
                "its own with name="
            )
        if id(scenario.body) in several:
            return
    if "<locals>" not in getattr(scenario.body, "__qualname__", ""):
        return
    raise ScenarioError(
        f"scenario={scenario!r} is declared inside a function, where its own process cannot find it: "
        "assign it to a name at the top of the file, or declare it with command=[...]"
    )


def _file_of(module: object) -> str:
    name = vars(module).get("__file__") if isinstance(module, ModuleType) else None
    return os.path.abspath(name) if isinstance(name, str) else ""


def subject_of(
    subject: Scenario | Sequence[str | os.PathLike[str]],
    outputs: str | Iterable[str],
    keywords: dict[str, Any],
) -> Scenario:
    """Return a scenario, or a command as one; a copy, which the caller may change.

    A command's relative paths start in the working directory.

    Raises:
        ScenarioError: an argument has a wrong type or value; the message begins with its name.
    """
    if isinstance(subject, Scenario):
        check_scenario(subject)
        for name, value in (({"outputs": outputs} if outputs else {}) | keywords).items():
            raise ScenarioError(f"{name}={value!r} goes with a command; {subject.name} declares its own")
        made, home = copy.copy(subject), os.path.dirname(subject.file)
        if made.command is None or made.setup is not None or made.check is not None:
            return made  # its own process looks its functions up in its file
    elif isinstance(subject, str) or not subject:
        raise ScenarioError(f"command={subject!r} must be a list: the program and its arguments")
    else:
        _refuse(keywords)
        command = [os.fspath(part) for part in subject]
        given = {"name": name_of(command), **keywords}
        made, home = scenario(command=command, outputs=outputs, **given), os.getcwd()
    made.file = os.path.join(home, NO_FILE)
    return made


#: Keywords of scenario() that a command in a test does not take, and what to do in their place.
_ELSEWHERE = {
    "faults": "is an argument of crashes()",
    "depth": "is an argument of crashes()",
    "expect": "is for scenarios: a test that expects a failure catches it",
    "setup": "needs a scenario at the top of a file, where its own process finds the function",
    "check": "needs a scenario at the top of a file, where its own process finds the function",
}


def _refuse(keywords: dict[str, Any]) -> None:
    for name, why in _ELSEWHERE.items():
        if name in keywords:
            raise ScenarioError(f"{name}={keywords[name]!r} {why}")
