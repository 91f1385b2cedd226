"""The command line. It calls explore and the reports, and nothing deeper."""

from __future__ import annotations

import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from outlive_harness import __version__
from outlive_harness.doctor import examine
from outlive_harness.explore.engine import explore, replay
from outlive_harness.explore.options import Options
from outlive_harness.explore.results import Exit, RunResult
from outlive_harness.explore.session import Session
from outlive_harness.plan import PlanError, parse_plan
from outlive_harness.report import json_report
from outlive_harness.report.replay import tell
from outlive_harness.report.terminal import Live, console, summary
from outlive_harness.scenario import Scenario, ScenarioError, find_files, load_file, scenario
from outlive_harness.store import Store, read_back
from outlive_harness.template import scenario_text

_STORE = Path(".outlive")
F = TypeVar("F", bound=Callable[..., Any])


def run(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line and return its exit status."""
    try:
        status = main.main(arguments, prog_name="outlive", standalone_mode=False)
    except click.exceptions.Abort:
        return Exit.INTERRUPTED
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (ScenarioError, PlanError) as error:
        click.echo(f"outlive: {error}", err=True)
        return Exit.USAGE
    except Exception:  # noqa: BLE001 - the last line of defence, with its own status
        traceback.print_exc()
        click.echo("outlive: this is a fault of ours, not of your pipeline; please report it", err=True)
        return Exit.FAULT_OF_OURS
    return int(status or 0)


class _Duration(click.ParamType[float]):
    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        match = re.fullmatch(r"([0-9.]+)(s|m)?", str(value))
        try:
            seconds = float(match[1]) * (60 if match[2] == "m" else 1) if match else -1.0
        except ValueError:
            seconds = -1.0
        if seconds < 0:
            self.fail(f"{value!r} is no duration: a number of seconds, as 60 or 60s or 2m", param, ctx)
        return seconds


class _Faults(click.ParamType[tuple[str, ...]]):
    name = "list"

    def convert(self, value: Any, _param: Any, _ctx: Any) -> tuple[str, ...]:  # noqa: ANN401
        return tuple(part.strip() for part in str(value).split(",") if part.strip())


def _shared(function: F) -> F:
    """Add the options that test and check have in common."""
    options = [
        click.option("--faults", type=_Faults(), help="Faults to strike with, separated by commas."),
        click.option("--outputs", multiple=True, metavar="GLOB", help="Files that readers see. Repeatable."),
        click.option("--append-only", multiple=True, metavar="GLOB", help="Files that may be a prefix."),
        click.option("--ignore", multiple=True, metavar="GLOB", help="Files that no check looks at."),
        click.option("--input", "input_dir", metavar="DIR", help="A directory copied into each box first."),
        click.option("--depth", type=click.IntRange(1), default=1, help="Crashes in a row."),
        click.option("--points", type=click.IntRange(1), help="Sample so many crash points of each fault."),
        click.option("--budget", type=_Duration(), help="Begin no trial after so many seconds."),
        click.option("--seed", type=int, default=0, help="Decides every sample."),
        click.option("--timeout", type=_Duration(), help="Seconds that one run may take."),
        click.option("-j", "jobs", type=click.IntRange(1), help="Worker processes; one a processor."),
        click.option(
            "--box-dir", type=click.Path(path_type=Path, file_okay=False, exists=True, writable=True)
        ),
        click.option("--json", "json_file", metavar="FILE", help="Write a JSON report; - is stdout."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="outlive")
def main() -> None:
    """Kill a pipeline at every point where its files can differ, and prove that it recovers.

    Exit status: 0 held, 1 violated, 2 usage, 3 unknown, 70 a fault of ours, 130 interrupted.
    """


@main.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--only", multiple=True, metavar="NAME", help="Run only scenarios of this name. Repeatable.")
@_shared
def test(paths: tuple[Path, ...], only: tuple[str, ...], **wish: Any) -> int:  # noqa: ANN401
    """Run the scenarios in PATH (default: scenarios/)."""
    found, broken = _load(paths or (Path("scenarios"),))
    names = {one.name for one in found}
    for name in only:
        if name not in names:
            raise ScenarioError(f"--only={name!r}: no such scenario; there are: {', '.join(sorted(names))}")
    chosen = [one for one in found if not only or one.name in only]
    for one in chosen:
        one.outputs += tuple(wish["outputs"])
        one.append_only += tuple(wish["append_only"])
        one.ignore += tuple(wish["ignore"])
        if wish["input_dir"] is not None:
            one.input = os.path.abspath(wish["input_dir"])
        one.timeout = wish["timeout"] or one.timeout
    if not chosen and not broken:
        raise ScenarioError(f"no scenarios in {', '.join(map(str, paths)) or 'scenarios/'}")
    status = _explore(chosen, wish) if chosen else Exit.USAGE
    # A suite that is not complete is not passed, whatever the rest of it says.
    return Exit.USAGE if broken and status != Exit.INTERRUPTED else status


def _load(paths: Sequence[Path]) -> tuple[list[Scenario], int]:
    """Return the scenarios, and how many files did not import; their tracebacks are shown."""
    found: list[Scenario] = []
    broken = 0
    for file in find_files(paths):
        try:
            found += load_file(file)
        except Exception as error:  # noqa: BLE001 - whatever a user's file raises
            broken += 1
            click.echo(f"outlive: {file} does not import:", err=True)
            if isinstance(error, ScenarioError):
                click.echo(f"  {error}", err=True)
            else:
                traceback.print_exception(error)
    return found, broken


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--litter", type=click.Choice(["warn", "fail"]), default="warn", help="What leftovers mean.")
@click.option("--restarts", type=click.IntRange(1), default=1, help="Starts until it must have succeeded.")
@_shared
def check(command: tuple[str, ...], **wish: Any) -> int:  # noqa: ANN401
    """Test any COMMAND, as in: outlive check --outputs 'out/**' -- python3 pipeline.py.

    It runs in an empty box, and arguments that are existing files are made absolute. With {box} in
    COMMAND it runs where you are.
    """
    program = command[0]
    if shutil.which(program) is None:
        raise ScenarioError(f"command not found: {program!r}")
    made = scenario(
        command=list(command),
        name=_name(command),
        outputs=wish["outputs"],
        append_only=wish["append_only"],
        ignore=wish["ignore"],
        input=None if wish["input_dir"] is None else os.path.abspath(wish["input_dir"]),
        restarts=wish["restarts"],
        timeout=wish["timeout"],
        litter=wish["litter"],
    )
    made.file = os.path.join(os.getcwd(), "-")  # relative paths are the user's
    return _explore([made], wish)


def _name(command: Sequence[str]) -> str:
    """Name a command by its script, or by its program."""
    scripts = [part for part in command if os.path.isfile(part)]
    stem = Path(scripts[-1] if scripts else command[0]).stem
    return re.sub(r"[^A-Za-z0-9_.-]", "_", stem) or "command"


def _explore(scenarios: list[Scenario], wish: dict[str, Any]) -> int:
    options = Options(
        faults=wish["faults"],
        depth=wish["depth"],
        points=wish["points"],
        budget=wish["budget"],
        seed=wish["seed"],
        store=_STORE,
    )
    for one in scenarios:
        options.faults_of(one)
    target = wish["json_file"]
    if target not in (None, "-") and not os.access(Path(target).absolute().parent, os.W_OK):
        raise ScenarioError(f"--json={target!r} cannot be written: no such directory, or it is read-only")
    out = console(stderr=target == "-")
    with (
        Session(jobs=wish["jobs"] or 0, box_dir=wish["box_dir"]) as session,
        Live(out, len(scenarios)) as live,
    ):
        result = explore(session, scenarios, options, live)
    summary(out, result)
    _write_json(result, target)
    return result.exit_status


def _write_json(result: RunResult, target: str | None) -> None:
    if target == "-":
        sys.stdout.write(json_report.as_text(result))
    elif target is not None:
        json_report.write(result, Path(target).absolute())


@main.command(name="replay")
@click.argument("identifier", metavar="ID")
@click.option("--box-dir", type=click.Path(path_type=Path, file_okay=False, exists=True, writable=True))
def replay_command(identifier: str, box_dir: Path | None) -> int:
    """Carry out one failure again, exactly, and tell all of it; the boxes are kept."""
    name, colon, text = identifier.rpartition(":")
    if not colon or not name:
        raise PlanError(
            f"{identifier!r} is no replay id: it should be SCENARIO:FAULT@OP, for example report:kill@3"
        )
    plan = parse_plan(text)
    store = Store(_STORE.absolute())
    one = _scenario_of(identifier, name, store)
    Options(faults=tuple(point.fault for point in plan)).faults_of(one)
    place = store.place(identifier)
    with Session(jobs=1, box_dir=box_dir) as session:
        record, trial = replay(session, one, plan, keep=place)
        tell(console(), record, trial, plan, place)
    if trial is None or not trial.judged:
        return Exit.UNKNOWN
    return Exit.VIOLATED if trial.findings else Exit.HELD


def _scenario_of(identifier: str, name: str, store: Store) -> Scenario:
    """Find the scenario of a replay id: as it was kept, or by its name under scenarios/."""
    facts = store.find(identifier)
    if facts is not None:
        written = facts.get("scenario", {})
        if written.get("command") is not None:
            return read_back(written)
        files = [written["file"]] if os.path.isfile(written.get("file", "")) else []
    else:
        files = []
    if not files and Path("scenarios").is_dir():
        files = ["scenarios"]
    for one in _load([Path(file) for file in files])[0]:
        if one.name == name:
            return one
    known = ", ".join(store.ids()) or "none"
    raise ScenarioError(f"no scenario {name!r} in scenarios/, and no such failure is kept; kept are: {known}")


@main.command()
@click.argument("name")
def new(name: str) -> int:
    """Write scenarios/NAME.py: a scenario that runs at once, to start from."""
    if not name.isidentifier():
        raise ScenarioError(f"NAME={name!r} must be a Python identifier: letters, digits and underscores")
    path = Path("scenarios") / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    try:
        with path.open("x") as file:
            file.write(scenario_text(name))
    except FileExistsError:
        raise ScenarioError(f"{path} is there already; choose another name or remove it") from None
    click.echo(f"wrote {path}; run it with: outlive test {path}")
    return Exit.HELD


@main.command()
@click.option("--box-dir", type=click.Path(path_type=Path))
def doctor(box_dir: Path | None) -> int:
    """Say what this machine can do, and why not what it can't."""
    for fact in examine(box_dir):
        click.echo(f"{'ok ' if fact.good else 'NO '} {fact.name:13} {fact.text}")
    return Exit.HELD
