"""outlive doctor: report what this machine can do."""

from __future__ import annotations

from pathlib import Path

import click

from outlive_harness.report.files import asked_for
from outlive_harness.results.verdicts import Exit

from . import machine
from .options import box_dir_option


@click.command("doctor")
@click.option("--json", "json_file", metavar="FILE", help="Write the facts as JSON; - is stdout.")
@box_dir_option
def command(json_file: str | None, box_dir: Path | None) -> int:
    """Report what this machine can do, and why it cannot do the rest.

    Exit status: 0, whatever it can do.
    """
    reports = asked_for({"json": json_file})
    for report in reports:
        report.check()
    facts = []
    for fact in machine.examine(box_dir):
        facts.append(fact)
        if not reports:
            click.echo(f"{fact.state:4} {fact.name:13} {fact.text}")
    for report in reports:
        report.put(machine.as_text(facts))
    return Exit.HELD
