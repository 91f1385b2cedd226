"""outlive new: write a scenario to start from, or one for a command that is observed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from outlive import atomic_write
from outlive_harness.disk.copying import copy_tree
from outlive_harness.disk.removal import remove_tree
from outlive_harness.explore.golden import observe_command
from outlive_harness.golden.advice.absent import missing_inputs
from outlive_harness.golden.advice.proposal import Proposal, propose
from outlive_harness.golden.observe import Observation
from outlive_harness.report.escaped import visible
from outlive_harness.results.command_names import name_of
from outlive_harness.results.command_text import words_of
from outlive_harness.results.options import STORE
from outlive_harness.results.run_spec import run_spec_of
from outlive_harness.results.scenario import NO_FILE, Scenario, ScenarioError, scenario
from outlive_harness.results.verdicts import Exit

from .check import check_program
from .given import as_written, directory_code, identifier, started
from .options import box_dir_option, duration, of_the_place
from .running import session_of
from .template import objection, proposed_text, python_string, scenario_text
from .words import SCENARIOS

#: How often a command is run again with more of the files that it looked for.
_ROUNDS = 8
#: How many files of one directory are copied into a box one by one.
_FEW = 4


@click.command("new", short_help="Write a scenario to start from.")
@click.argument("name", required=False)
@click.option(
    "--from",
    "origin",
    metavar="COMMAND",
    help="Run COMMAND, and propose a scenario from what it does. By default NAME is that of its script.",
)
@click.option(
    "--timeout",
    type=duration,
    default="120",
    metavar="SECONDS",
    help="How long one run of COMMAND may take; by default 120.",
)
@click.option(
    "--input",
    "input_dir",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    metavar="DIR",
    help="A directory to copy into the box of COMMAND first.",
)
@of_the_place
@box_dir_option
def command(
    name: str | None,
    origin: str | None,
    timeout: float,
    input_dir: str | None,
    cwd: str | None,
    env: tuple[str, ...],
    box_dir: Path | None,
) -> int:
    """Write scenarios/NAME.py: a scenario to start from, which runs at once.

    With --from the scenario is for COMMAND, which is run three times in a box, or in the directory of
    --cwd, with no fault. Each file that it leaves in the box is proposed as an output, a checkpoint, a log,
    ..., with the reason.
    """
    if origin is None:
        if name is None:
            raise click.UsageError("Missing argument 'NAME'.")
        given = [f"--{key}" for key, value in (("input", input_dir), ("cwd", cwd), ("env", env)) if value]
        if given:
            raise click.UsageError(
                f"{given[0]} goes with --from: a body makes its files itself, or in a setup"
            )
        return _write(_free(name), scenario_text(name))
    root = Path.cwd()
    found = started(words_of("--from", origin), cwd, root)
    if found.argv[:2] != ("sh", "-c"):
        check_program(found.argv[0], found.cwd)
    path = _free(name if name is not None else _derived(found.argv, found.cwd))
    if path.stem == "ROOT":
        raise ScenarioError("NAME='ROOT' is a name that the scenario file itself uses")
    written = as_written(found.argv, root, found.cwd)
    made = scenario(
        command=[word.value for word in written],
        name="new",
        timeout=timeout,
        cwd=found.cwd,
        env=(*env, *found.env),
    )
    with _watched(made, root, input_dir, box_dir) as (seen, copied):
        if seen.failure:
            raise ScenarioError(_failed(origin, seen))
        try:
            proposal = propose(seen)
        except ScenarioError as error:
            raise ScenarioError(f"--from={origin!r}: {error}") from None
    sentence = _seen(seen)
    text = proposed_text(
        path.stem,
        [word.code for word in written],
        proposal,
        seen=f"Proposed by outlive new --from: {sentence}. Read it, and correct it.",
        given=_where(made, root, input_dir),
        files=[one for one in copied if not (root / one).is_dir()],
        directories=[one for one in copied if (root / one).is_dir()],
    )
    _tell(sentence, proposal, copied)
    return _write(path, text)


def _where(made: Scenario, root: Path, input_dir: str | None) -> list[str]:
    """Return the lines of the declaration that say where the command runs, and with what."""
    lines = [f"input={directory_code(input_dir, root)},"] if input_dir else []
    lines += [f"cwd={directory_code(made.cwd, root)},"] if made.cwd else []
    pairs = (one.split("=", 1) for one in made.env)
    variables = ", ".join(f"{python_string(name)}: {python_string(value)}" for name, value in pairs)
    return lines + ([f"env={{{variables}}},"] if variables else [])


def _derived(words: Sequence[str], cwd: str | None) -> str:
    """Return the name of a script or program, as check does, as a name of a scenario file."""
    name = identifier(name_of(words, cwd))
    return f"run_{name}" if objection(name) else name


def _free(name: str) -> Path:
    """Return the path of a new scenario file.

    Raises:
        ScenarioError: the name is not allowed, or there is such a file.
    """
    why = objection(name)
    if why:
        raise ScenarioError(f"NAME={name!r} {why}")
    path = SCENARIOS / f"{name}.py"
    if os.path.lexists(path):
        raise ScenarioError(f"{path} exists; choose another NAME, or remove the file")
    return path


def _write(path: Path, text: str) -> int:
    try:
        path.parent.mkdir(exist_ok=True)
        atomic_write(path, text, overwrite=False)
    except FileExistsError as error:
        raise ScenarioError(
            f"{error.filename or path} exists; choose another NAME, or remove the file"
        ) from None
    except OSError as error:
        raise ScenarioError(f"{path} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {path}; run it with: outlive test {path}")
    return Exit.HELD


@contextlib.contextmanager
def _watched(
    made: Scenario, root: Path, input_dir: str | None, box_dir: Path | None
) -> Iterator[tuple[Observation, list[str]]]:
    """Observe a command; files that it looks for in its box are copied there from the user's directory."""
    with session_of(1, box_dir) as session, tempfile.TemporaryDirectory() as place:
        source = Path(place)
        if input_dir:
            copy_tree(Path(input_dir), source)
            remove_tree(source / STORE)  # earlier failures are no input
        made.input, made.file = place, str(root / NO_FILE)
        spec, timeout = run_spec_of(made), made.timeout or 0.0
        copied: list[str] = []
        for _ in range(_ROUNDS):
            seen = observe_command(session, spec, timeout)
            more = missing_inputs(seen, lambda path: _is_there(root / path))
            if not more:
                break
            copied = _gathered([*copied, *more])
            _copy(copied, root, source)
        yield seen, copied


def _is_there(path: Path) -> bool:
    """Return whether a path can be copied; a hidden directory is a tool's own, and may be large."""
    return path.is_file() or (path.is_dir() and not path.name.startswith("."))


def _gathered(paths: list[str]) -> list[str]:
    """Return paths, with a directory in place of its files where they are many."""
    parents = {path: os.path.dirname(path) for path in paths}
    beside = Counter(parent for parent in parents.values() if parent)
    made = {parent if beside[parent] > _FEW else path for path, parent in parents.items()}
    return sorted(path for path in made if not any(str(above) in made for above in Path(path).parents))


def _copy(paths: list[str], root: Path, source: Path) -> None:
    try:
        for path in paths:
            target = source / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if (root / path).is_dir():
                shutil.copytree(root / path, target, dirs_exist_ok=True)
            else:
                shutil.copy2(root / path, target)
    except OSError as error:
        raise ScenarioError(f"the files that the command reads cannot be copied: {error}") from error


def _failed(origin: str, seen: Observation) -> str:
    said = f"\n{seen.stderr.strip()[-4000:]}" if seen.stderr.strip() else ""
    hint = "; it runs in an empty box: --input DIR copies its input there, --cwd DIR runs it where that is"
    if seen.overran:
        hint = "; --timeout gives it longer"
    made = len(seen.ops)
    return f"--from={origin!r}: with no fault it {seen.failure} (after {made} ops){hint}{said}"


def _seen(seen: Observation) -> str:
    if seen.refused:
        return f"runs of {seen.seconds:.2f} s were seen"
    return f"{len(seen.ops)} ops in {seen.seconds:.2f} s were seen"


def _tell(sentence: str, proposal: Proposal, copied: list[str]) -> None:
    """Print the proposal with its reasons."""
    click.echo(sentence)
    lines = [("outputs", f"{', '.join(proposal.outputs)} ({proposal.how})")]
    lines += [("by value", f"--{one.keyword} {one.value}") for one in proposal.cures]
    lines += [("append only", pattern) for pattern in proposal.append_only]
    lines += [("copied in", path) for path in copied]
    for head, several in (
        ("checkpoint", proposal.checkpoints),
        ("not compared", proposal.apart),
        ("ignored", proposal.ignore),
    ):
        lines += [(head, f"{pattern} ({why})") for pattern, why in several]
    lines += [("note", note) for note in proposal.notes]
    for head, text in lines:
        click.echo(f"  {head + ':':13} {visible(text)}")
