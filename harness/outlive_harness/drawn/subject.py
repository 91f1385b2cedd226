"""What a test hands in, a command or a scenario, as a scenario that can be run."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Sequence
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
    if scenario.body is not None and "<locals>" in getattr(scenario.body, "__qualname__", ""):
        raise ScenarioError(
            f"scenario={scenario!r} is declared inside a function, where its own process cannot find it: "
            "declare it at the top of the file, or with command=[...]"
        )
    if not scenario.name:
        raise ScenarioError(f"scenario={scenario!r} has no name: give it one with name=")


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
