"""outlive check: any command, no file needed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from outlive_harness.scenario import TMP_CHOICES, ScenarioError, scenario

from .options import shared
from .running import run_scenarios
from .words import NO_FILE


# Options end where the command begins: `check python3 -u x.py` needs no `--`.
@click.command(
    "check",
    short_help="Test any command, no file needed.",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("command", nargs=-1, required=True, metavar="[--] COMMAND...", type=click.UNPROCESSED)
@click.option(
    "--litter", type=click.Choice(["warn", "fail"]), default="warn", help="What leftovers of a crash mean."
)
@click.option("--acks", default="", metavar="REGEX", help="Lines of its output that promise something.")
@shared
def command(command: tuple[str, ...], **wish: Any) -> int:  # noqa: ANN401
    """Test any COMMAND: outlive check --outputs 'out/**' -- python3 pipeline.py.

    It runs in an empty box with empty standard input, and arguments that are existing files are made
    absolute. With {box} in COMMAND it runs where you are, and {box} is the box's path. Without
    --outputs every file of the box is an output. Failures are kept under .outlive/.
    """
    check_program(command[0])
    made = scenario(
        command=list(command),
        name=name_of(command),
        outputs=wish["outputs"],
        append_only=wish["append_only"],
        ignore=wish["ignore"],
        input=wish["input_dir"],
        restarts=wish["restarts"] or 1,
        timeout=wish["timeout"],
        litter=wish["litter"],
        acks=wish["acks"],
        tmp=wish["tmp"] or TMP_CHOICES[0],
    )
    made.file = os.path.join(os.getcwd(), NO_FILE)
    return run_scenarios([made], [], wish, forks=True)


def check_program(program: str) -> None:
    """Say at once what the first run would say: that there is no such program."""
    if "{box}" in program or shutil.which(program) is not None:
        return
    if not os.path.exists(program):
        where = "" if os.sep in program else ", neither on PATH nor in this directory"
        raise ScenarioError(f"command not found: {program!r}{where}")
    if os.path.isdir(program):
        raise ScenarioError(f"COMMAND begins with {program!r}, which is a directory and not a program")
    hint = "give its interpreter first, or make it executable and name it with its path"
    raise ScenarioError(f"COMMAND begins with {program!r}, which is a file here but not a program: {hint}")


def name_of(command: Sequence[str]) -> str:
    """Name a command by its script, or by its program; in a form that needs no quotes."""
    scripts = [part for part in command[1:] if not part.startswith("-") and os.path.isfile(part)]
    stem = Path(scripts[0] if scripts and not _is_script(command[0]) else command[0]).stem
    return re.sub(r"[^A-Za-z0-9_.-]", "_", stem).strip("-.") or "command"


def _is_script(program: str) -> bool:
    """Tell a script that is run by its path from an interpreter, which is told what to run."""
    if os.sep not in program:
        return False
    try:
        with open(program, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False
