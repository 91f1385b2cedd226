"""`outlive state`: list the marks in a directory of checkpoints, explain them, and forget them."""

from __future__ import annotations

import difflib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import click

from outlive import AlreadyRunningError, atomic_write
from outlive_harness.report.files import check_target, write_text
from outlive_harness.results.scenario import ScenarioError
from outlive_harness.results.verdicts import Exit

from . import marks
from .marks import printable

_DAY = 86_400 * 10**9  # ns


def _where(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that locate the marks."""
    for option in (
        click.option("--store", type=click.Choice(marks.STORES), help="Only the marks of this store."),
        click.option("--run-id", metavar="ID", help="The run; the empty string is the run without an id."),
        click.option(
            "--dir",
            "directory",
            type=click.Path(path_type=Path),
            default=Path(".checkpoints"),
            metavar="DIR",
            help="The directory of the checkpoints; by default .checkpoints.",
        ),
    ):
        command = option(command)
    return command


def _checked_target(_context: click.Context, _option: click.Parameter, target: str | None) -> str | None:
    """Refuse, before anything is forgotten, a file that cannot be written."""
    if target not in (None, "-"):
        with _naming(target):
            check_target(Path(target).absolute())
    return target


_json = click.option(
    "--json", "out", callback=_checked_target, metavar="FILE", help="Write JSON to this file; - is stdout."
)


@click.group("state", short_help="List marks, explain them, and forget them.")
def command() -> None:
    """List the marks in a directory of checkpoints, explain why a step would run, and forget marks.

    Exit status: 0, or 2 if the directory does not exist or cannot be read.
    """


@command.command("ls", short_help="List the marked steps.")
@_where
@_json
def ls(directory: Path, run_id: str | None, store: str | None, out: str | None) -> int:
    """List the marked steps of all runs or of one: when, how many items, and whether the mark still counts.

    Each mark is compared with the files that it recorded, not with what the pipeline would declare today.
    """
    with _refusals():
        found = [row for run in marks.runs_of(directory, run_id, store) for row in marks.steps_of(run)]
    if out is not None:
        return _as_json(out, directory=str(directory), steps=found)
    if not found:
        click.echo(f"nothing is marked in {directory}")
    several = len({row["store"] for row in found}) > 1
    for row in found:
        name = marks.listed_name(row["run_id"], row["step"])
        when = "-" if row["marked_at"] is None else _time(row["marked_at"])
        items = f"{row['items']} item{'s' if row['items'] != 1 else ''}" if row["items"] else ""
        notes = [row["doubt"] or "ok", items, row["store"] if several else ""]
        click.echo(f"{when:19}  {name}  {', '.join(filter(None, notes))}")
    return Exit.HELD


@command.command("why", short_help="Say why a step would run or not.")
@click.argument("name")
@click.option("--verify", type=click.Choice(["stat", "hash"]), default="stat", help="How files are compared.")
@_where
@_json
def why(
    name: str,
    verify: Literal["stat", "hash"],
    directory: Path,
    run_id: str | None,
    store: str | None,
    out: str | None,
) -> int:
    """Say why the step NAME would run or not, by its mark and the files that the mark recorded.

    NAME is a line of `outlive state ls` (RUN/STEP), or a step of the run that --run-id names. Only the
    pipeline itself knows whether its parameters have changed.
    """
    with _refusals():
        run_id, step = marks.named([name], directory, run_id, store)[name]
        runs = list(marks.runs_of(directory, run_id, store))
        found = next((one for one in runs if step in one.done()), None)
        run = found or runs[0]
        doubt = run.why_stale(step, verify=verify)
        names = [] if found else [known for one in runs for known in one.done()]
        near = difflib.get_close_matches(step, names, 1)
    if out is not None:
        return _as_json(out, run_id=run.run_id, step=step, done=not doubt, doubt=doubt)
    sentence = f"{name} will run: {doubt}" if doubt else f"{name} will not run: it is done"
    click.echo(sentence + (f"; did you mean {printable(near[0])}?" if near else ""))
    return Exit.HELD


@command.command("clear", short_help="Forget steps.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "is_all", is_flag=True, help="Forget the whole run.")
@click.option("--force", is_flag=True, help="Forget even if a run holds the lock.")
@_where
@_json
def clear(
    names: tuple[str, ...],
    is_all: bool,  # noqa: FBT001 - click's
    force: bool,  # noqa: FBT001 - click's
    directory: Path,
    run_id: str | None,
    store: str | None,
    out: str | None,
) -> int:
    """Forget the steps with these names, or the whole run with --all, so that they run again.

    Each NAME is a line of `outlive state ls` (RUN/STEP), or a step of the run that --run-id names. This
    fails while a run holds the lock of `outlive.run_lock`.
    """
    if bool(names) == is_all:
        raise ScenarioError("outlive state clear: give the names of steps or --all, not both")
    given = dict(zip(names, names, strict=True))  # by step
    if names:
        with _refusals():
            found = marks.named(names, directory, run_id, store)
        if len({run for run, _ in found.values()}) > 1:
            raise ScenarioError(
                "outlive state clear: the NAMEs belong to several runs; clear one run at a time"
            )
        run_id = next(run for run, _ in found.values())
        given = {step: name for name, (_, step) in found.items()}
        names = tuple(given)
    with _refusals(), marks.alone(directory, run_id or "", force=force):
        runs = list(marks.runs_of(directory, run_id or "", store))
        known = {name for run in runs for name in marks.present(run, names)}
        for run in runs:
            for name in (None,) if is_all else names:
                run.clear(name)
        known -= {name for run in runs for name in marks.present(run, names)}  # another program's files stay
    gone = sorted(known) if is_all else [name for name in names if name in known]
    if out is not None:
        return _as_json(out, run_id=run_id or "", cleared=gone)
    for name in gone or ([] if names else ["nothing"]):
        click.echo(f"forgot {printable(given.get(name, name))}")
    for name in names:
        if name not in known:
            click.echo(f"{printable(given[name])} was not marked")
    return Exit.HELD


@command.command("gc", short_help="Remove temporary files of killed runs, and old runs.")
@click.option(
    "--older-than",
    type=click.FloatRange(0),
    metavar="DAYS",
    help="Forget runs without a mark in the last DAYS days.",
)
@click.option(
    "--orphans-older-than",
    type=click.FloatRange(0),
    metavar="DAYS",
    help="Where locks do not work (NFS), remove temporary files unchanged for DAYS days.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
@_where
@_json
def gc(
    older_than: float | None,
    orphans_older_than: float | None,
    dry_run: bool,  # noqa: FBT001 - click's
    directory: Path,
    run_id: str | None,
    store: str | None,
    out: str | None,
) -> int:
    """Remove the temporary files of killed runs, empty directories, and, with --older-than, old runs.

    The run without an id is forgotten only if --run-id "" asks for it. Files that a live process writes stay.
    So does a run that is in progress, and one with a mark that is damaged or of a newer version. Where locks
    do not work, as on some network file systems, temporary files stay unless --orphans-older-than is given;
    DAYS must exceed the time that any write takes.
    """
    removed: list[str] = []
    gone: list[str] = []
    busy: list[str] = []
    with _refusals():
        several, folders = list(marks.runs_of(directory, run_id, store)), marks.folders_of(directory)
        for run in several:
            if older_than is None or not (run.run_id or run_id == ""):
                continue
            try:
                with marks.held(directory, run.run_id, dry_run=dry_run):
                    if marks.newest_mark(run) < time.time_ns() - older_than * _DAY:
                        removed.append(f"run {printable(run.run_id)} ({run.store})")
                        gone += marks.marker_paths(directory, run)
                        if not dry_run:
                            run.clear()
            except AlreadyRunningError:
                busy.append(run.run_id)
        age = None if orphans_older_than is None else orphans_older_than * _DAY / 10**9
        removed += marks.remove_leftovers(folders, gone, age, dry_run=dry_run)
        unknown = [] if age is not None else marks.unknown_temporaries(folders)
    if out is not None:
        return _as_json(out, removed=removed, busy=busy, unknown=unknown, dry_run=dry_run)
    for one in removed:
        click.echo(f"{'would remove' if dry_run else 'removed'} {one}")
    if unknown:
        click.echo(
            f"{len(unknown)} temporary {'files stay' if len(unknown) > 1 else 'file stays'}, such as "
            f"{unknown[0]}: this file system has no locks that show whether the "
            "writer lives; --orphans-older-than DAYS removes files that were not changed for so long"
        )
    for one in busy:
        click.echo(f"run {printable(one)} is in progress, and stays")
    return Exit.HELD


@command.command("dump", short_help="Write all marks as lines of JSON.")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="The file; by default stdout."
)
@_where
def dump(output: Path | None, directory: Path, run_id: str | None, store: str | None) -> int:
    """Write the marks of all runs or of one as lines of JSON, one for each step or item."""
    with _refusals():
        records = [one for run in marks.runs_of(directory, run_id, store) for one in run.records()]
        text = "".join(f"{json.dumps(one)}\n" for one in records)
        if output is not None:
            atomic_write(output, text)
    if output is None:
        click.echo(text, nl=False)
    return Exit.HELD


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn the errors of the library into errors of use."""
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, ScenarioError):
            raise
        raise ScenarioError(getattr(error, "strerror", None) or str(error)) from error


@contextmanager
def _naming(target: str) -> Iterator[None]:
    """Name the file that cannot be written, and the reason."""
    try:
        yield
    except OSError as error:
        raise ScenarioError(f"{target} cannot be written: {error.strerror}") from error


def _as_json(target: str, **facts: object) -> int:
    text = json.dumps({"schema": 1, **facts}, indent=2) + "\n"
    if target == "-":
        click.echo(text, nl=False)
        return Exit.HELD
    with _naming(target):
        write_text(Path(target).absolute(), text)
    return Exit.HELD


def _time(ns: int) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(ns / 10**9))
    except (OverflowError, ValueError, OSError):  # a year that no calendar has
        return "-"
