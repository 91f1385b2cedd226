"""The options that commands have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from outlive_harness.disk.profiles import PROFILES
from outlive_harness.explore.select import MANY, SELECTIONS
from outlive_harness.faults import table
from outlive_harness.realfs import KINDS
from outlive_harness.scenario import CUTS, TMP_CHOICES

from .words import duration, faults, signal_number

F = TypeVar("F", bound=Callable[..., Any])


box_dir_option = click.option(
    "--box-dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True, writable=True, resolve_path=True),
    metavar="DIR",
    help="Where boxes are made; by default in memory.",
)


def shared(function: F) -> F:
    """Add the options that test and check have in common."""
    directory = click.Path(exists=True, file_okay=False, resolve_path=True)
    options = [
        click.option(
            "--faults", type=faults, metavar="LIST", help=f"Of {', '.join(table())}; by default kill."
        ),
        click.option(
            "--profile",
            type=click.Choice(list(PROFILES)),
            metavar="NAME",
            help=f"What the disk promises where the power is cut: {', '.join(PROFILES)}; by default posix.",
        ),
        click.option(
            "--real-fs",
            type=click.Choice(list(KINDS)),
            metavar="NAME",
            help=f"Cut the power on a real file system as well: {', '.join(KINDS)}. Needs root.",
        ),
        click.option(
            "--torn",
            type=click.Choice(CUTS),
            help="Where torn cuts a write: at pages of its file, as SIGKILL does (the default), or anywhere.",
        ),
        click.option(
            "--signal",
            type=signal_number,
            default="TERM",
            metavar="NAME",
            help="What term sends: TERM (by default), INT, HUP, USR1, ...",
        ),
        click.option("--outputs", multiple=True, metavar="GLOB", help="Files that readers see. Repeatable."),
        click.option(
            "--append-only",
            multiple=True,
            metavar="GLOB",
            help="Files of which a part may be seen that ends with a line.",
        ),
        click.option("--ignore", multiple=True, metavar="GLOB", help="Files that no check looks at."),
        click.option(
            "--input", "input_dir", type=directory, metavar="DIR", help="Copied into each box first."
        ),
        click.option(
            "--tmp",
            type=click.Choice(TMP_CHOICES),
            help="The temporary directory is on another file system than the outputs (other, by default), "
            "so a rename from there fails with EXDEV; or on the same.",
        ),
        click.option(
            "--depth", type=click.IntRange(1), default=1, metavar="N", help="Crashes in a row; by default 1."
        ),
        click.option(
            "--points", type=click.IntRange(1), metavar="N", help="Sample so many crash points of each fault."
        ),
        click.option(
            "--select",
            type=click.Choice(SELECTIONS),
            default="auto",
            help="Crash points: all; distinct, which stand for all that are like them; auto, by default, is "
            f"all unless a fault has more than {MANY}.",
        ),
        click.option(
            "--budget",
            type=duration,
            metavar="SECONDS",
            help="Begin no trial after so long; use what is left of it for deeper plans, drawn at random.",
        ),
        click.option(
            "--fail-fast",
            is_flag=True,
            help="Leave a scenario at the first violation that it shows; with --explain all it is explained.",
        ),
        click.option("--seed", type=int, default=0, metavar="N", help="Decides every sample; by default 0."),
        click.option(
            "--zygote/--no-zygote",
            default=True,
            help="Fork trials of Python programs from a warm interpreter (by default), or exec each.",
        ),
        click.option(
            "--explain",
            type=click.Choice(["auto", "all", "none"]),
            default="auto",
            help="Trace violations to their lines, and try repairs: of unexpected ones (auto; none with "
            "--fail-fast), all, or none.",
        ),
        click.option(
            "--baseline",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="Violations that are known today: they fail nothing, but one that is gone does.",
        ),
        click.option("--update-baseline", is_flag=True, help="Write what is found to that file."),
        click.option(
            "--memory",
            type=click.IntRange(0),
            metavar="MIB",
            help="Data of a recorded run (for power) to keep in memory; more goes to a file. By default 64.",
        ),
        click.option("--timeout", type=duration, metavar="SECONDS", help="How long one run may take."),
        click.option(
            "--restarts", type=click.IntRange(1), metavar="N", help="Starts until it must have exited with 0."
        ),
        click.option(
            "-j",
            "jobs",
            type=click.IntRange(1, 1024),
            metavar="N",
            help="Worker processes, at most 1024; by default one a processor.",
        ),
        box_dir_option,
        click.option("--json", "json_file", metavar="FILE", help="Write a JSON report; - is stdout."),
        click.option("--html", "html_file", metavar="FILE", help="Write a report to look at: one file."),
        click.option("--junit", "junit_file", metavar="FILE", help="Write JUnit's XML."),
        click.option("--sarif", "sarif_file", metavar="FILE", help="Write SARIF, for code scanning."),
        click.option(
            "--github/--no-github",
            default=None,
            help="Annotate lines and write a summary of the step; by default where a workflow runs.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function
