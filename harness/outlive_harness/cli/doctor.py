"""outlive doctor: what this machine can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outlive_harness import doctor
from outlive_harness.explore.results import Exit

from .options import box_dir_option


@click.command("doctor")
@click.option("--json", "json_file", type=click.File("w"), metavar="FILE", help="For machines; - is stdout.")
@box_dir_option
def command(json_file: Any, box_dir: Path | None) -> int:  # noqa: ANN401
    """Say what this machine can do, and why not what it can't.

    Exit status: 0, whatever it can do.
    """
    facts = []
    for fact in doctor.examine(box_dir):
        facts.append(fact)
        if json_file is None:
            click.echo(f"{fact.state:4} {fact.name:13} {fact.text}")
    if json_file is not None:
        json_file.write(doctor.as_text(facts))
    return Exit.HELD
