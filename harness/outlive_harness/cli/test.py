"""outlive test: run the scenarios in files and directories."""

from __future__ import annotations

from typing import Any

import click

from outlive_harness.results.scenario import ScenarioError

from .declared import add, load, select
from .options import Command, shared
from .running import run_scenarios
from .words import SCENARIOS


@click.command("test", cls=Command, short_help="Run the scenarios in files and directories.")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path())
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Run scenarios of this name only, or like it: a pattern (NA*), or a part of the name. Repeatable.",
)
@click.option(
    "--exhaustive",
    is_flag=True,
    help="Explore a known-bad scenario to its end, even if it has shown the expected violation.",
)
@click.option(
    "--changed",
    is_flag=True,
    help="Leave out scenarios that held, if nothing they depend on has changed.",
)
@click.option("--resume", is_flag=True, help="Continue the last run, if it was cut short.")
@shared
def command(paths: tuple[str, ...], only: tuple[str, ...], **wish: Any) -> int:  # noqa: ANN401
    """Run the scenarios in PATH: files, or directories of files (default: scenarios/).

    --outputs, --read, --mask, --append-only and --ignore are added to the scenarios' own, and --env to
    their variables; --input, --cwd, --timeout, --restarts, --tmp and --freeze replace their values.

    If a file cannot be imported, the others run, and the exit status is 2 whatever they show: the suite
    was not complete.
    """
    if not paths and not SCENARIOS.is_dir():
        raise ScenarioError("there is no directory scenarios/ here; outlive new NAME writes a first scenario")
    found, broken = load(paths or (SCENARIOS,))
    chosen = select(found, only) if found else []
    if not chosen and not broken:
        raise ScenarioError(f"no scenarios in {', '.join(map(str, paths or (SCENARIOS,)))}")
    for one in chosen:
        add(one, wish)
    return run_scenarios(chosen, broken, wish)
