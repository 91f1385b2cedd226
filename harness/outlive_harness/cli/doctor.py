"""outlive doctor: what this machine can do."""

from __future__ import annotations

from pathlib import Path

import click

from outlive_harness.report.files import asked_for
from outlive_harness.results.verdicts import Exit

from . import machine as doctor
from .options import box_dir_option


@click.command("doctor")
@click.option("--json", "json_file", metavar="FILE", help="For machines; - is stdout.")
@box_dir_option
def command(json_file: str | None, box_dir: Path | None) -> int:
    """Say what this machine can do, and why not what it can't.

    Exit status: 0, whatever it can do.
    """
    reports = asked_for({"json": json_file})
    for report in reports:
        report.check()
    facts = []
    for fact in doctor.examine(box_dir):
        facts.append(fact)
        if not reports:
            click.echo(f"{fact.state:4} {fact.name:13} {fact.text}")
    for report in reports:
        report.put(doctor.as_text(facts))
    return Exit.HELD
