"""The scenarios that a command line names: found in files, chosen by name."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from outlive_harness.explore.results import ScenarioResult
from outlive_harness.scenario import Scenario, ScenarioError, find_files, load_file

from .words import complain


def load(paths: Sequence[str | Path]) -> tuple[list[Scenario], list[ScenarioResult]]:
    """Return the scenarios of files, and what is to be said of the files that give none."""
    found: list[Scenario] = []
    broken: list[ScenarioResult] = []
    named = {Path(os.path.realpath(path)) for path in paths}
    for file in find_files(paths):
        shown = os.path.relpath(file)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # what a file prints is no part of a report
                several = load_file(file)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's file raises
            complain(f"{shown} does not import:")
            _show(error, file)
            why = f"does not import: {type(error).__name__}: {error}"
            broken.append(ScenarioResult(shown, reason=why, file=str(file)))
            continue
        found += several
        if not several:
            complain(f"{shown} declares no scenario")
            if file in named:
                broken.append(ScenarioResult(shown, reason="declares no scenario", file=str(file)))
    return found, broken


def _show(error: BaseException, file: Path) -> None:
    """Print a traceback from the user's own file on."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != str(file):
        frames = frames.tb_next
    traceback.print_exception(type(error), error, frames)


def select(found: list[Scenario], only: Sequence[str]) -> list[Scenario]:
    """Return the scenarios asked for: by name, else by pattern, else by a part of the name."""
    if not only:
        return found
    chosen: set[str] = set()
    names = [one.name for one in found]
    for wanted in only:
        like = [
            [name for name in names if name == wanted],
            fnmatch.filter(names, wanted),
            [name for name in names if wanted in name],
        ]
        matching = next(filter(None, like), None)
        if matching is None:
            raise ScenarioError(f"--only={wanted!r}: no such scenario; there are: {', '.join(sorted(names))}")
        chosen.update(matching)
    return [one for one in found if one.name in chosen]


def add(one: Scenario, wish: dict[str, Any]) -> None:
    """Add the command line's wishes to a scenario."""
    if one.outputs or one.check is not None:  # otherwise every file is an output already
        one.outputs += wish["outputs"]
    one.append_only += wish["append_only"]
    one.ignore += wish["ignore"]
    one.input = wish["input_dir"] or one.input
    one.timeout = wish["timeout"] or one.timeout
    one.restarts = wish["restarts"] or one.restarts
    one.tmp = wish["tmp"] or one.tmp
