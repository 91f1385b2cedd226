"""The scenarios that a command line names: loaded from files, and chosen by name."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from outlive_harness.results.keywords import with_option
from outlive_harness.results.scenario import Scenario, ScenarioError
from outlive_harness.results.scenario_files import find_files, load_file
from outlive_harness.results.value_kinds import readers
from outlive_harness.results.verdicts import ScenarioResult

from . import expression
from .words import complain


def load(
    paths: Sequence[str | Path], defaults: Callable[[Scenario], None]
) -> tuple[list[Scenario], list[ScenarioResult]]:
    """Return the scenarios of files, and a result for each file that cannot be loaded or declares none.

    Args:
        paths: the files, and directories of files.
        defaults: puts into a scenario what the configuration says.
    """
    found: list[Scenario] = []
    broken: list[ScenarioResult] = []
    named = {Path(os.path.realpath(path)) for path in paths}
    for file in find_files(paths):
        shown = os.path.relpath(file)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # what a file prints must not get into a report
                several = load_file(file)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's file raises
            complain(f"{shown} does not import:")
            _show(error, file)
            why = f"does not import: {type(error).__name__}: {error}"
            broken.append(ScenarioResult(shown, reason=why, file=str(file), is_misuse=True))
            continue
        for one in several:
            defaults(one)
        found += several
        if not several:
            complain(f"{shown} declares no scenario")
            if file in named:
                broken.append(
                    ScenarioResult(shown, reason="declares no scenario", file=str(file), is_misuse=True)
                )
    return found, broken


def _show(error: BaseException, file: Path) -> None:
    """Print a traceback that begins in the user's own file."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != str(file):
        frames = frames.tb_next
    traceback.print_exception(type(error), error, frames)


def select(found: list[Scenario], only: Sequence[str]) -> list[Scenario]:
    """Return the scenarios that --only names: by name, else by pattern, else by a part of the name.

    The name without an id means all cases of a scenario with params.
    """
    if not only:
        return found
    chosen: set[str] = set()
    names = [one.name for one in found]
    for wanted in only:
        like = [
            [name for name in names if name == wanted],
            [name for name in names if name.startswith(f"{wanted}[")],
            fnmatch.filter(names, wanted),
            [name for name in names if wanted in name],
        ]
        named = next(filter(None, like), None)
        if named is None:
            raise ScenarioError(f"--only={wanted!r}: no such scenario; there are: {', '.join(sorted(names))}")
        chosen.update(named)
    return [one for one in found if one.name in chosen]


def matching(found: list[Scenario], text: str | None) -> list[Scenario]:
    """Return the scenarios that -k chooses: its parts are looked for in their names, and in their files'."""
    if not text:
        return found
    matches = expression.parse(text)
    chosen = [one for one in found if matches((one.name, os.path.basename(one.file)))]
    if not chosen:
        names = ", ".join(sorted(one.name for one in found))
        raise ScenarioError(f"-k={text!r} chooses no scenario; there are: {names}")
    return chosen


def add(one: Scenario, wish: dict[str, Any]) -> None:
    """Put the command line's values into a scenario: patterns and variables are added, others replaced.

    Raises:
        ScenarioError: a value is not of the form that it should be.
    """
    all_are_outputs = not one.outputs and one.check is None
    for keyword in with_option("test", is_for_all=False):
        if wish[keyword.name] is None:
            continue
        value = keyword.checked(wish[keyword.name], f"--{keyword.flag}")
        if keyword.name == "outputs" and all_are_outputs:
            continue
        now = getattr(one, keyword.name)
        if keyword.kind is readers:  # the first pattern that matches counts
            value = value + now
        elif keyword.is_added:
            value = now + value
        setattr(one, keyword.name, value)
