"""outlive check: test any command, without a scenario file."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from outlive_harness.results.keywords import with_option
from outlive_harness.results.run_spec import BOX
from outlive_harness.results.scenario import NO_FILE, ScenarioError, scenario

from .options import for_a_command, shared
from .running import run_scenarios


# Options end where the command begins: `check python3 -u x.py` needs no `--`.
@click.command(
    "check",
    short_help="Test any command, without a scenario file.",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("command", nargs=-1, required=True, metavar="[--] COMMAND...", type=click.UNPROCESSED)
@for_a_command
@shared
def command(command: tuple[str, ...], **wish: Any) -> int:  # noqa: ANN401
    """Test any COMMAND: outlive check --outputs 'out/**' -- python3 pipeline.py.

    COMMAND runs in an empty box with empty standard input; arguments that are existing files are made
    absolute. With {box} in COMMAND it runs in the working directory, and {box} is the box's path. Without
    --outputs every file of the box is an output. Failures are kept under .outlive/.
    """
    check_program(command[0])
    keywords = (keyword.name for keyword in with_option("check", is_for_all=False))
    given = {name: wish[name] for name in keywords if wish[name] is not None}
    made = scenario(command=list(command), name=name_of(command), **given)
    made.file = os.path.join(os.getcwd(), NO_FILE)
    for flag, check in (("--check", made.check), ("--crash-check", made.crash_check)):
        if isinstance(check, tuple):
            check_program(check[0], flag)
    return run_scenarios([made], [], wish, forks=True)


def check_program(program: str, what: str = "COMMAND") -> None:
    """Return if the first run can start a program.

    Args:
        program: the program.
        what: how messages name the command that begins with it.

    Raises:
        ScenarioError: there is no such program.
    """
    if BOX in program or shutil.which(program) is not None:
        return
    if not os.path.exists(program):
        where = "" if os.sep in program else ", neither on PATH nor in this directory"
        option = "" if what == "COMMAND" else f"{what}: "
        raise ScenarioError(f"{option}command not found: {program!r}{where}")
    if os.path.isdir(program):
        raise ScenarioError(f"{what} begins with {program!r}, which is a directory and not a program")
    hint = "give its interpreter first, or make it executable and name it with its path"
    raise ScenarioError(f"{what} begins with {program!r}, which is a file here but not a program: {hint}")


def name_of(command: Sequence[str]) -> str:
    """Return a name for a command, which needs no quotes: that of its script, or of its program."""
    scripts = [part for part in command[1:] if not part.startswith("-") and os.path.isfile(part)]
    stem = Path(scripts[0] if scripts and not _is_script(command[0]) else command[0]).stem
    return re.sub(r"[^A-Za-z0-9_.-]", "_", stem).strip("-.") or "command"


def _is_script(program: str) -> bool:
    """Return whether a program is a script that is run by its path, and not an interpreter."""
    if os.sep not in program:
        return False
    try:
        with open(program, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False
