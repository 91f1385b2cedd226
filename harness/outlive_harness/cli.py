"""The command line. It calls explore and the reports, and nothing deeper."""

from __future__ import annotations

import contextlib
import fnmatch
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.text import Text

from outlive_harness import __version__, doctor
from outlive_harness.disk.profiles import PROFILES
from outlive_harness.disk.tree import copy_tree, remove_tree
from outlive_harness.explain.task import explain
from outlive_harness.explore.engine import explore, replay
from outlive_harness.explore.golden import Record
from outlive_harness.explore.options import Options
from outlive_harness.explore.rebase import rebased
from outlive_harness.explore.results import Exit, RunResult, ScenarioResult, Trial
from outlive_harness.explore.reuse import Ledger
from outlive_harness.explore.select import MANY, SELECTIONS
from outlive_harness.explore.session import NoRoomError, Session, WorkerDiedError
from outlive_harness.explore.tapes import MEMORY
from outlive_harness.explore.waves import HarnessError
from outlive_harness.faults import table
from outlive_harness.plan import Plan, PlanError, parse_plan
from outlive_harness.realfs import KINDS, missing
from outlive_harness.report import files as report_files
from outlive_harness.report import github, json_report
from outlive_harness.report.export import export
from outlive_harness.report.replay import tell
from outlive_harness.report.terminal import Live, console, summary
from outlive_harness.report.text import visible_lines
from outlive_harness.scenario import (
    Scenario,
    ScenarioError,
    checked_patterns,
    find_files,
    load_file,
    scenario,
)
from outlive_harness.store import Store, read_back, write_down
from outlive_harness.template import objection, scenario_text

_STORE = Path(".outlive")
_SCENARIOS = Path("scenarios")
#: The file that a command's scenario stands in: none, in the directory whose relative paths it means.
_NO_FILE = "-"
#: 128 + SIGPIPE, as a shell reports it: who read our output went away, and no verdict was told.
_READER_GONE = 141
F = TypeVar("F", bound=Callable[..., Any])


def run(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command line and return its exit status."""
    _print_anything()
    try:
        with _stoppable():
            return _checked(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        _complain("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains when it flushes at its end
        return _READER_GONE
    except NoRoomError as error:
        _complain(f"unknown: {error}")
        return Exit.UNKNOWN
    except (HarnessError, WorkerDiedError) as error:
        return _fault_of_ours(str(error))  # the traceback in it is the one that says what broke
    except Exception:  # noqa: BLE001 - the last line of defence, with its own status
        return _fault_of_ours(traceback.format_exc(limit=-6))


def _checked(arguments: Sequence[str]) -> int:
    """Carry out a command line; where it asks for what is not to be had, say so."""
    try:
        status = _carry_out(arguments)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (ScenarioError, PlanError) as error:
        _complain(str(error))
        return Exit.USAGE
    return status


def _carry_out(arguments: Sequence[str]) -> int:
    # Not main.main(): it exits with 1 where a pipe breaks, and takes an EOFError for an interrupt.
    try:
        with main.make_context("outlive", list(arguments)) as context:
            return int(main.invoke(context) or 0)
    except click.exceptions.Exit as end:  # --help, --version
        return end.exit_code


def _print_anything() -> None:
    """Let no name that is not to be encoded end a run."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as we run
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Take a request to end for Ctrl-C, and only once: what is started must be ended, too."""

    def stop(_number: int, _frame: object) -> None:
        for number in wanted:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    several = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # What our starter ignores, as nohup does, stays ignored.
    wanted = [number for number in several if signal.getsignal(number) != signal.SIG_IGN]
    before = [signal.signal(number, stop) for number in wanted]
    try:
        yield
    finally:
        for number, handler in zip(wanted, before, strict=True):
            signal.signal(number, handler)


def _complain(text: str) -> None:
    click.echo("outlive: " + "\n".join(visible_lines(text)), err=True)


def _fault_of_ours(what: str) -> Exit:
    click.echo(what.rstrip(), err=True)
    _complain("this is a fault of ours, not of your pipeline; please report it")
    return Exit.FAULT_OF_OURS


def _duration(text: str) -> float:
    """Read a duration: a number of seconds, or of minutes with an m."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(s|m)?", text, re.ASCII)
    seconds = float(match[1]) * (60 if match[2] == "m" else 1) if match else 0.0
    if not 0 < seconds < 1e9:
        raise click.BadParameter(f"{text!r} is no duration: a number over 0, as 60 or 60s or 2m")
    return seconds


def _signal(text: str) -> int:
    """Read a signal by its name, with or without SIG, or by its number."""
    name = text.upper().removeprefix("SIG")
    known = {one.name.removeprefix("SIG"): one.value for one in signal.Signals}
    number = known.get(name, int(name) if name.isascii() and name.isdigit() else 0)
    if number not in known.values() or number == signal.SIGSTOP:
        raise click.BadParameter(f"{text!r} is no signal that can be sent, as TERM, INT or USR1")
    return number


def _real_fs(name: str | None) -> str:
    """Refuse a file system that cannot be had here."""
    why = missing(name) if name else ""
    if why:
        raise ScenarioError(f"--real-fs={name!r} cannot be had here: {why}")
    return name or ""


def _faults(text: str) -> tuple[str, ...]:
    """Read a list of faults; whether there are such is for the exploration to say."""
    names = dict.fromkeys(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise click.BadParameter(f"{text!r} names no fault; there are: {', '.join(table())}")
    return tuple(names)


_box_dir = click.option(
    "--box-dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True, writable=True),
    metavar="DIR",
    help="Where boxes are made; by default in memory.",
)


def _shared(function: F) -> F:
    """Add the options that test and check have in common."""
    directory = click.Path(exists=True, file_okay=False, resolve_path=True)
    options = [
        click.option(
            "--faults", type=_faults, metavar="LIST", help=f"Of {', '.join(table())}; by default kill."
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
            "--signal",
            type=_signal,
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
        click.option("--budget", type=_duration, metavar="SECONDS", help="Begin no trial after so long."),
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
            help="Trace violations to their lines, and try repairs: of unexpected ones (auto), all, or none.",
        ),
        click.option(
            "--memory",
            type=click.IntRange(0),
            metavar="MIB",
            help="Data of a recorded run (for power) to keep in memory; more goes to a file. By default 64.",
        ),
        click.option("--timeout", type=_duration, metavar="SECONDS", help="How long one run may take."),
        click.option(
            "--restarts", type=click.IntRange(1), metavar="N", help="Starts until it must have exited with 0."
        ),
        click.option(
            "-j",
            "jobs",
            type=click.IntRange(1),
            metavar="N",
            help="Worker processes; by default one a processor.",
        ),
        _box_dir,
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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="outlive")
def main() -> None:
    """Kill a pipeline at every point where its files can differ, and prove that it recovers.

    Exit status: 0 held, 1 violated, 2 usage, 3 unknown, 70 a fault of ours, 130 interrupted.
    """


@main.command(short_help="Run the scenarios in files and directories.")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Scenarios of this name, or like it: NA*, part of it. Repeatable.",
)
@click.option(
    "--exhaustive",
    is_flag=True,
    help="Go on with a known-bad scenario that has shown what it is expected to.",
)
@click.option(
    "--changed", is_flag=True, help="Leave out what held before, where nothing that it came of has changed."
)
@click.option("--resume", is_flag=True, help="Go on where the last run was cut short.")
@_shared
def test(paths: tuple[Path, ...], only: tuple[str, ...], **wish: Any) -> int:  # noqa: ANN401
    """Run the scenarios in PATH: files, or directories of files (default: scenarios/).

    --outputs, --append-only and --ignore are added to what each scenario declares; --input, --timeout
    and --restarts stand in for it.

    A file that does not import does not keep the others from running; the exit status is then 2,
    whatever they show: the suite was not complete.
    """
    for key in ("outputs", "append_only", "ignore"):
        checked_patterns(f"--{key.replace('_', '-')}", wish[key])
    if not paths and not _SCENARIOS.is_dir():
        raise ScenarioError("there is no directory scenarios/ here; outlive new NAME writes a first one")
    found, broken = _load(paths or (_SCENARIOS,))
    chosen = _select(found, only) if found else []
    if not chosen and not broken:
        raise ScenarioError(f"no scenarios in {', '.join(map(str, paths or (_SCENARIOS,)))}")
    for one in chosen:
        _add(one, wish)
    return _explore(chosen, broken, wish)


def _load(paths: Sequence[Path]) -> tuple[list[Scenario], list[ScenarioResult]]:
    """Return the scenarios of files, and what is to be said of the files that give none."""
    found: list[Scenario] = []
    broken: list[ScenarioResult] = []
    named = {path.resolve() for path in paths}
    for file in find_files(paths):
        shown = os.path.relpath(file)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # what a file prints is no part of a report
                several = load_file(file)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's file raises
            _complain(f"{shown} does not import:")
            _show(error, file)
            why = f"does not import: {type(error).__name__}: {error}"
            broken.append(ScenarioResult(shown, reason=why, file=str(file)))
            continue
        found += several
        if not several:
            _complain(f"{shown} declares no scenario")
            if file in named:
                broken.append(ScenarioResult(shown, reason="declares no scenario", file=str(file)))
    return found, broken


def _show(error: BaseException, file: Path) -> None:
    """Print a traceback from the user's own file on."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != str(file):
        frames = frames.tb_next
    traceback.print_exception(type(error), error, frames)


def _select(found: list[Scenario], only: Sequence[str]) -> list[Scenario]:
    """Return the scenarios asked for: by name, else by pattern, else by a part of the name."""
    if not only:
        return found
    chosen: set[str] = set()
    names = [one.name for one in found]
    for wanted in only:
        like = [
            [name for name in names if name == wanted],
            fnmatch.filter(names, wanted),
            [name for name in names if wanted in name],
        ]
        matching = next(filter(None, like), None)
        if matching is None:
            raise ScenarioError(f"--only={wanted!r}: no such scenario; there are: {', '.join(sorted(names))}")
        chosen.update(matching)
    return [one for one in found if one.name in chosen]


def _add(one: Scenario, wish: dict[str, Any]) -> None:
    """Add the command line's wishes to a scenario."""
    if one.outputs or one.check is not None:  # otherwise every file is an output already
        one.outputs += wish["outputs"]
    one.append_only += wish["append_only"]
    one.ignore += wish["ignore"]
    one.input = wish["input_dir"] or one.input
    one.timeout = wish["timeout"] or one.timeout
    one.restarts = wish["restarts"] or one.restarts


# Options end where the command begins: `check python3 -u x.py` needs no `--`.
@main.command(
    short_help="Test any command, no file needed.", context_settings={"allow_interspersed_args": False}
)
@click.argument("command", nargs=-1, required=True, metavar="[--] COMMAND...", type=click.UNPROCESSED)
@click.option(
    "--litter", type=click.Choice(["warn", "fail"]), default="warn", help="What leftovers of a crash mean."
)
@click.option("--acks", default="", metavar="REGEX", help="Lines of its output that promise something.")
@_shared
def check(command: tuple[str, ...], **wish: Any) -> int:  # noqa: ANN401
    """Test any COMMAND: outlive check --outputs 'out/**' -- python3 pipeline.py.

    It runs in an empty box with empty standard input, and arguments that are existing files are made
    absolute. With {box} in COMMAND it runs where you are, and {box} is the box's path. Without
    --outputs every file of the box is an output. Failures are kept under .outlive/.
    """
    _check_program(command[0])
    made = scenario(
        command=list(command),
        name=_name(command),
        outputs=wish["outputs"],
        append_only=wish["append_only"],
        ignore=wish["ignore"],
        input=wish["input_dir"],
        restarts=wish["restarts"] or 1,
        timeout=wish["timeout"],
        litter=wish["litter"],
        acks=wish["acks"],
    )
    made.file = os.path.join(os.getcwd(), _NO_FILE)
    return _explore([made], [], wish)


def _check_program(program: str) -> None:
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


def _name(command: Sequence[str]) -> str:
    """Name a command by its script, or by its program; in a form that needs no quotes."""
    scripts = [part for part in command[1:] if not part.startswith("-") and os.path.isfile(part)]
    stem = Path(scripts[0] if scripts else command[0]).stem
    return re.sub(r"[^A-Za-z0-9_.-]", "_", stem).strip("-.") or "command"


def _explore(scenarios: list[Scenario], broken: list[ScenarioResult], wish: dict[str, Any]) -> Exit:
    options = Options(
        faults=wish["faults"],
        depth=wish["depth"],
        points=wish["points"],
        budget=wish["budget"],
        seed=wish["seed"],
        store=_STORE.absolute(),
        profile=wish["profile"],
        signal=wish["signal"],
        zygote=wish["zygote"],
        select=wish["select"],
        exhaustive=wish.get("exhaustive", False),
        real_fs=_real_fs(wish["real_fs"]),
        explain=wish["explain"],
        exhibit=wish["html_file"] is not None,
        memory=MEMORY if wish["memory"] is None else wish["memory"] << 20,
    )
    for one in scenarios:
        options.faults_of(one)
        options.profile_of(one)
    reports = report_files.asked_for({name: wish[f"{name}_file"] for name in report_files.WRITERS})
    for report in reports:
        report.check()
    out = console(stderr=wish["json_file"] == "-")
    result = RunResult([], options.seed, 0.0)
    if scenarios:
        ledger = _ledger(options.store, wish)
        with _session(wish["jobs"], wish["box_dir"]) as session, Live(out, len(scenarios)) as live:
            result = explore(session, scenarios, options, live, ledger=ledger, explain=explain)
        if ledger is not None and not result.interrupted:
            ledger.end()
        if result.interrupted:
            _tell_unfinished(live, result, scenarios, Store(options.store))
    result.scenarios += broken
    summary(out, result)
    for report in reports:
        report.write(result)
    if github.is_here(os.environ) if wish["github"] is None else wish["github"]:
        _tell_github(result, out)
    if wish["json_file"] == "-":
        sys.stdout.write(json_report.as_text(result))
    return Exit.USAGE if broken and not result.interrupted else result.exit_status


def _ledger(root: Path, wish: dict[str, Any]) -> Ledger | None:
    """Return where results are put down; None for a command, or where nothing can be written."""
    if "resume" not in wish:
        return None
    ledger = Ledger(Store(root), changed=wish["changed"], resume=wish["resume"])
    try:
        if not ledger.begin() and wish["resume"]:
            _complain("--resume: the last run came to its end, so all scenarios are run")
    except OSError as error:
        if wish["changed"] or wish["resume"]:
            raise ScenarioError(f"no results can be kept in {root}: {error.strerror or error}") from error
        return None
    return ledger


def _tell_github(result: RunResult, out: Console) -> None:
    for line in github.commands(result):
        out.print(Text(line))
    try:
        github.append_summary(result, os.environ)
    except OSError as error:
        _complain(f"GITHUB_STEP_SUMMARY cannot be written: {error.strerror or error}")


@contextlib.contextmanager
def _session(jobs: int | None, box_dir: Path | None) -> Iterator[Session]:
    session = Session(jobs=jobs, box_dir=box_dir)
    try:
        session.open()
    except OSError as error:
        raise ScenarioError(
            f"the boxes cannot be made: {error}; choose another directory with --box-dir"
        ) from error
    try:
        yield session
    finally:
        session.close()


def _tell_unfinished(live: Live, result: RunResult, scenarios: Sequence[Scenario], store: Store) -> None:
    """Show what was found of scenarios that an interrupt cut short, and let it be replayed."""
    for one, shown in zip(scenarios, result.scenarios, strict=True):
        if shown.reason == "interrupted" and shown.violations:
            first = next((violation for violation in shown.violations if violation.replay), None)
            if first is not None:
                with contextlib.suppress(OSError):
                    store.keep(first.replay, _facts(one, first.kind, first.message))
            live.finished(shown)


def _facts(one: Scenario, kind: str = "", message: str = "") -> dict[str, Any]:
    return {"version": __version__, "kind": kind, "message": message, "scenario": write_down(one)}


@main.command(name="replay", short_help="Carry out one failure again, exactly.")
@click.argument("identifier", metavar="ID")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@click.option("--shell", is_flag=True, help="Open a shell in what the crash left.")
@click.option(
    "--export",
    "export_to",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write the program, the boxes and a script that shows the failure, for a bug report.",
)
@_box_dir
def replay_command(
    identifier: str, paths: tuple[Path, ...], *, shell: bool, export_to: Path | None, box_dir: Path | None
) -> int:
    """Carry out one failure again, exactly, and tell all of it; the boxes are kept.

    ID is SCENARIO:FAULT@OP, as a report shows it. The scenario is the one that failed, as it is kept
    under .outlive/; else it is looked for in PATH (default: scenarios/). Where the pipeline has changed
    since, its ops are found again by what they do.

    Exit status: 1 it violates again, 0 it held, 3 the crash point was not reached.
    """
    name, colon, text = identifier.rpartition(":")
    if not colon or not name:
        raise PlanError(
            f"ID={identifier!r} is no replay id: it should be SCENARIO:FAULT@OP, as in report:kill@3"
        )
    plan = parse_plan(text)
    store = Store(_STORE.absolute())
    one = _scenario_of(identifier, name, paths, store)
    Options(faults=tuple(point.fault for point in plan)).faults_of(one)
    facts = store.find(identifier)
    try:
        place = store.keep(identifier, _facts(one)) if facts is None else store.place(identifier)
    except OSError as error:
        raise ScenarioError(f"the boxes cannot be kept under {_STORE}/: {error}") from error
    is_kept = facts is not None
    try:
        with _session(1, box_dir) as session:
            record, trial = replay(session, one, plan, keep=place, adjust=partial(_adjusted, facts or {}))
            is_judged = trial is not None and trial.judged
            if is_judged:
                remove_tree(place / "golden")
                (place / "golden").mkdir()
                copy_tree(record.place / "golden", place / "golden")
            is_kept = is_kept or is_judged
            tell(console(), record, trial, plan if trial is None else trial.plan, place)
    finally:
        if not is_kept:  # a point that is none, or an interrupt: nothing to come back to
            remove_tree(place)
    if trial is None or not is_judged:
        return Exit.UNKNOWN
    _go_on(place, record, trial, identifier, shell=shell, export_to=export_to)
    return Exit.VIOLATED if trial.findings else Exit.HELD


def _adjusted(facts: dict[str, Any], record: Record, plan: Plan) -> Plan:
    """Find the ops of a kept failure again, and say where they are others now."""
    if facts.get("version", __version__) != __version__:
        _complain(f"recorded by version {facts['version']}; this is {__version__}, which may count otherwise")
    plan, notes = rebased(record, plan, facts.get("marks") or {})
    for note in notes:
        _complain(note)
    return plan


def _go_on(
    place: Path, record: Record, trial: Trial, identifier: str, *, shell: bool, export_to: Path | None
) -> None:
    """Do what was asked for beyond telling."""
    if export_to is not None:
        try:
            export(place, record, trial, identifier, export_to)
        except OSError as error:
            raise ScenarioError(f"--export={str(export_to)!r}: {error.strerror or error}") from error
        click.echo(f"wrote {export_to}; run {export_to}/reproduce.sh")
    if shell:
        program = os.environ.get("SHELL", "/bin/sh")
        click.echo(f"{program} in {place / 'crashed'}; golden/ and recovered/ are beside it; exit ends it")
        try:
            subprocess.run([program], cwd=place / "crashed", check=False)
        except OSError as error:
            raise ScenarioError(f"SHELL={program!r} does not start: {error.strerror}") from error


def _scenario_of(identifier: str, name: str, paths: Sequence[Path], store: Store) -> Scenario:
    """Find the scenario of a replay id: as it failed, or as it is declared, or as it failed otherwise."""
    facts = None if paths else store.find(identifier)
    if facts is not None:
        return _as_kept(facts)
    where = paths or ([_SCENARIOS] if _SCENARIOS.is_dir() else [])
    one = _declared(name, where)
    if one is not None:
        return one
    ids = store.ids()
    others = [] if paths else [other for other in ids if other.rpartition(":")[0] == name]
    for facts in filter(None, map(store.find, others)):
        return _as_kept(facts)
    looked = ", ".join(map(str, where)) or "a directory scenarios/, which is not here"
    elsewhere = "" if paths else "; where it is elsewhere, give its file after ID"
    raise ScenarioError(
        f"ID={identifier!r}: no scenario {name!r} in {looked}{elsewhere}; failures kept under {_STORE}/: "
        f"{', '.join(ids) or 'none'}"
    )


def _declared(name: str, paths: Sequence[Path]) -> Scenario | None:
    """Look for a scenario by its name, first in files of that name."""
    files = sorted(find_files(paths), key=lambda file: file.stem != name)
    for file in files:
        for one in _load([file])[0]:
            if one.name == name:
                return one
    return None


#: What the command line may have added to a declaration.
_ADDED = ("outputs", "append_only", "ignore", "input", "timeout", "restarts")


def _as_kept(facts: dict[str, Any]) -> Scenario:
    """Make the scenario that failed, with all that the command line had added to it."""
    kept = read_back(facts.get("scenario") or {})
    if os.path.basename(kept.file) == _NO_FILE:
        return kept
    if not os.path.isfile(kept.file):
        raise ScenarioError(f"the scenario's file is gone: {kept.file}")
    one = _declared(kept.name, [Path(kept.file)])
    if one is None:
        raise ScenarioError(f"{kept.file} has no scenario {kept.name!r} any more")
    for key in _ADDED:
        then, now = getattr(kept, key), getattr(one, key)
        if then != now:
            _complain(f"replayed with {key}={then!r}, as it failed; {kept.file} now says {now!r}")
            setattr(one, key, then)
    return one


@main.command(short_help="Write a scenario to start from.")
@click.argument("name")
def new(name: str) -> int:
    """Write scenarios/NAME.py: a scenario that runs at once, to start from."""
    why = objection(name)
    if why:
        raise ScenarioError(f"NAME={name!r} {why}")
    path = _SCENARIOS / f"{name}.py"
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(scenario_text(name))
    except FileExistsError as error:
        raise ScenarioError(
            f"{error.filename} is there already; choose another NAME, or remove it first"
        ) from None
    except OSError as error:
        raise ScenarioError(f"{path} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {path}; run it with: outlive test {path}")
    return Exit.HELD


@main.command(name="doctor")
@click.option("--json", "json_file", type=click.File("w"), metavar="FILE", help="For machines; - is stdout.")
@_box_dir
def doctor_command(json_file: Any, box_dir: Path | None) -> int:  # noqa: ANN401
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
