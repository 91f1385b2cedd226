"""What all commands share; the types of their options are in options.py."""

from __future__ import annotations

from pathlib import Path

import click

from outlive_harness.report.escaped import visible_lines

SCENARIOS = Path("scenarios")


def complain(text: str) -> None:
    """Print a message on standard error."""
    click.echo("outlive: " + "\n".join(visible_lines(text)), err=True)
