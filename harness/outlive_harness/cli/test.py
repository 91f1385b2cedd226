"""outlive test: the scenarios in files and directories."""

from __future__ import annotations

from typing import Any

import click

from outlive_harness.results.scenario import ScenarioError

from .declared import add, load, select
from .options import shared
from .running import run_scenarios
from .words import SCENARIOS


@click.command("test", short_help="Run the scenarios in files and directories.")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path())
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Scenarios of this name, or like it: NA*, part of it. Repeatable.",
)
@click.option(
    "--exhaustive",
    is_flag=True,
    help="Go on with a known-bad scenario that has shown what it is expected to.",
)
@click.option(
    "--changed", is_flag=True, help="Leave out what held before, where nothing that it rests on has changed."
)
@click.option("--resume", is_flag=True, help="Go on where the last run was cut short.")
@shared
def command(paths: tuple[str, ...], only: tuple[str, ...], **wish: Any) -> int:  # noqa: ANN401
    """Run the scenarios in PATH: files, or directories of files (default: scenarios/).

    --outputs, --append-only and --ignore are added to what each scenario declares; --input, --timeout
    and --restarts stand in for it.

    A file that does not import does not keep the others from running; the exit status is then 2,
    whatever they show: the suite was not complete.
    """
    if not paths and not SCENARIOS.is_dir():
        raise ScenarioError("there is no directory scenarios/ here; outlive new NAME writes a first one")
    found, broken = load(paths or (SCENARIOS,))
    chosen = select(found, only) if found else []
    if not chosen and not broken:
        raise ScenarioError(f"no scenarios in {', '.join(map(str, paths or (SCENARIOS,)))}")
    for one in chosen:
        add(one, wish)
    return run_scenarios(chosen, broken, wish)
