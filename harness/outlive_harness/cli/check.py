"""outlive check: test any command, without a scenario file."""

from __future__ import annotations

import os
import shutil
from typing import Any

import click

from outlive_harness.results.command_names import name_of
from outlive_harness.results.keywords import with_option
from outlive_harness.results.run_spec import BOX
from outlive_harness.results.scenario import NO_FILE, ScenarioError, scenario

from .options import Command, for_a_command, shared
from .running import run_scenarios


# Options end where the command begins: `check python3 -u x.py` needs no `--`.
@click.command(
    "check",
    cls=Command,
    short_help="Test any command, without a scenario file.",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("command", nargs=-1, required=True, metavar="[--] COMMAND...", type=click.UNPROCESSED)
@for_a_command
@shared
def command(command: tuple[str, ...], **wish: Any) -> int:  # noqa: ANN401
    """Test any COMMAND: outlive check --outputs 'out/**' -- python3 pipeline.py.

    COMMAND runs in an empty box with empty standard input; arguments that are existing files are made
    absolute. With --cwd DIR it runs in DIR, and with {box} in COMMAND in the working directory; {box} is the
    box's path. Without --outputs every file of the box is an output. Failures are kept under .outlive/.
    """
    check_program(command[0], wish["cwd"])
    keywords = (keyword.name for keyword in with_option("check", is_for_all=False))
    given = {name: wish[name] for name in keywords if wish[name] is not None}
    made = scenario(command=list(command), name=name_of(command, wish["cwd"]), **given)
    made.file = os.path.join(os.getcwd(), NO_FILE)
    wish["configured"].fill(made, door="check")
    for flag, check in (("--check", made.check), ("--crash-check", made.crash_check)):
        if isinstance(check, tuple):
            check_program(check[0], what=flag)
    return run_scenarios([made], [], wish, forks=True)


def check_program(program: str, cwd: str | None = None, *, what: str = "COMMAND") -> None:
    """Return if the first run can start a program, in *cwd* if that is given.

    Args:
        program: the program.
        cwd: the directory that it runs in.
        what: how messages name the command that begins with it.

    Raises:
        ScenarioError: there is no such program.
    """
    in_cwd = os.path.join(cwd, program) if cwd and os.sep in program else program
    if BOX in program or shutil.which(program) is not None or shutil.which(in_cwd) is not None:
        return
    program = in_cwd if os.path.exists(in_cwd) else program
    if not os.path.exists(program):
        where = "" if os.sep in program else ", neither on PATH nor in this directory"
        option = "" if what == "COMMAND" else f"{what}: "
        raise ScenarioError(f"{option}command not found: {program!r}{where}")
    if os.path.isdir(program):
        raise ScenarioError(f"{what} begins with {program!r}, which is a directory and not a program")
    hint = "give its interpreter first, or make it executable and name it with its path"
    raise ScenarioError(f"{what} begins with {program!r}, which is a file here but not a program: {hint}")
