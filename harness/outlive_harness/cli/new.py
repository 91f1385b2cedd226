"""outlive new: a scenario to start from."""

from __future__ import annotations

import click

from outlive_harness.explore.results import Exit
from outlive_harness.scenario import ScenarioError
from outlive_harness.template import objection, scenario_text

from .words import SCENARIOS


@click.command("new", short_help="Write a scenario to start from.")
@click.argument("name")
def command(name: str) -> int:
    """Write scenarios/NAME.py: a scenario that runs at once, to start from."""
    why = objection(name)
    if why:
        raise ScenarioError(f"NAME={name!r} {why}")
    path = SCENARIOS / f"{name}.py"
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(scenario_text(name))
    except FileExistsError as error:
        raise ScenarioError(
            f"{error.filename} is there already; choose another NAME, or remove it first"
        ) from None
    except OSError as error:
        raise ScenarioError(f"{path} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {path}; run it with: outlive test {path}")
    return Exit.HELD
