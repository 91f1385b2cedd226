"""outlive test: run the scenarios in files and directories."""

from __future__ import annotations

from typing import Any

import click

from outlive_harness.results.scenario import ScenarioError
from outlive_harness.results.verdicts import Exit

from . import completion
from .declared import add, load, matching, select
from .listing import show
from .options import Command, shared
from .running import options_of, run_scenarios
from .words import SCENARIOS


@click.command("test", cls=Command, short_help="Run the scenarios in files and directories.")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path())
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    shell_complete=completion.names,
    help="Run scenarios of this name only, or like it: a pattern (NA*), or a part of the name. Repeatable.",
)
@click.option(
    "-k",
    "expression",
    metavar="EXPR",
    shell_complete=completion.names,
    help="Run scenarios whose names match, or those of their files: parts of names with and, or, not, as "
    "pytest has it.",
)
@click.option(
    "--list", "only_list", is_flag=True, help="Print the scenarios that would run, and run nothing."
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
def command(
    paths: tuple[str, ...],
    only: tuple[str, ...],
    expression: str | None,
    *,
    only_list: bool,
    **wish: Any,  # noqa: ANN401 - the options of all kinds
) -> int:
    """Run the scenarios in PATH: files, or directories of files (default: scenarios/).

    --outputs, --read, --mask, --append-only and --ignore are added to the scenarios' own, and --env to
    their variables; --input, --cwd, --timeout, --restarts, --tmp and --freeze replace their values.

    If a file cannot be imported, the others run, and the exit status is 2 whatever they show: the suite
    was not complete.
    """
    if not paths and not SCENARIOS.is_dir():
        raise ScenarioError("there is no directory scenarios/ here; outlive new NAME writes a first scenario")
    found, broken = load(paths or (SCENARIOS,), wish["configured"].fill)
    chosen = matching(select(found, only), expression) if found else []
    if not chosen and not broken:
        raise ScenarioError(f"no scenarios in {', '.join(map(str, paths or (SCENARIOS,)))}")
    for one in chosen:
        add(one, wish)
    if only_list:
        # A report that pyproject.toml asks for is one of runs.
        show(chosen, options_of(wish), wish["json_file"] if "json_file" in wish["configured"].given else None)
        return Exit.USAGE if broken else Exit.HELD
    return run_scenarios(chosen, broken, wish)
