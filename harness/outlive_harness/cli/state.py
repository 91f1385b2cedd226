"""outlive state: what is marked in a directory of checkpoints, why a step would run, and how to forget it."""

from __future__ import annotations

import difflib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Literal

import click

from outlive import AlreadyRunningError, Checkpoints, atomic_write, remove_orphans, run_lock
from outlive._checkpoints.names import stem
from outlive._system.locks import is_local
from outlive_harness.report.files import check_target, write_text
from outlive_harness.results.scenario import ScenarioError
from outlive_harness.results.verdicts import Exit

_DAY = 86_400 * 10**9  # ns
_TEMPORARY, _MARK, _ITEMS = ".outlive-tmp", ".done", ".items"
_UNMARKED = "it is not marked"
_STORES: tuple[Literal["files", "sqlite"], ...] = ("files", "sqlite")


def _where(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that say where marks are."""
    for option in (
        click.option("--store", type=click.Choice(_STORES), help="Marks of this store alone."),
        click.option("--run-id", metavar="ID", help="Of which run; the empty string is that without an id."),
        click.option(
            "--dir",
            "directory",
            type=click.Path(path_type=Path),
            default=Path(".checkpoints"),
            metavar="DIR",
            help="Where the checkpoints are; by default .checkpoints.",
        ),
    ):
        command = option(command)
    return command


def _checked_target(_context: click.Context, _option: click.Parameter, target: str | None) -> str | None:
    """Refuse a file that cannot be written before anything is forgotten."""
    if target not in (None, "-"):
        with _told_of(target):
            check_target(Path(target).absolute())
    return target


_json = click.option(
    "--json", "out", callback=_checked_target, metavar="FILE", help="For machines; - is stdout."
)


@click.group("state", short_help="Say what is marked, and forget it.")
def command() -> None:
    """Say what is marked in a directory of checkpoints, why a step would run, and forget it.

    Exit status: 0; 2 where there is no such directory, or it cannot be read.
    """


@command.command("ls", short_help="List the steps that are marked.")
@_where
@_json
def ls(directory: Path, run_id: str | None, store: str | None, out: str | None) -> int:
    """List the steps that are marked, of all runs or of one: when, their items, whether they still count.

    What they were marked with is looked at, and not what a pipeline would declare today.
    """
    with _told():
        found = [row for run in _runs(directory, run_id, store) for row in _steps(run)]
    if out is not None:
        return _as_json(out, directory=str(directory), steps=found)
    if not found:
        click.echo(f"nothing is marked in {directory}")
    several = len({row["store"] for row in found}) > 1
    for row in found:
        when = "-" if row["marked_at"] is None else _time(row["marked_at"])
        items = f"{row['items']} item{'s' if row['items'] != 1 else ''}" if row["items"] else ""
        notes = [row["doubt"] or "ok", items, row["store"] if several else ""]
        click.echo(f"{when:19}  {_named(row['run_id'], row['step'])}  {', '.join(filter(None, notes))}")
    return Exit.HELD


@command.command("why", short_help="Say why a step would run, or not.")
@click.argument("name")
@click.option(
    "--verify", type=click.Choice(["stat", "hash"]), default="stat", help="How files are looked at."
)
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
    """Say why the step NAME would run, or not: by its mark, and the files that this vouches for.

    NAME is as `outlive state ls` prints it, with its run before it, or a step of the run that --run-id names.
    The pipeline may declare other parameters today: what it would say of those it alone can tell.
    """
    with _told():
        given, (run_id, step) = name, _listed(name, directory, run_id, store)
        runs = list(_runs(directory, run_id, store))
        run = next((one for one in runs if step in one.done()), runs[0])
        doubt = run.why_stale(step, verify=verify)
        names = [] if step in run.done() else [known for one in runs for known in one.done()]
        near = difflib.get_close_matches(step, names, 1)
    if out is not None:
        return _as_json(out, run_id=run.run_id, step=step, done=not doubt, doubt=doubt)
    sentence = f"{given} will run: {doubt}" if doubt else f"{given} will not run: it is done"
    click.echo(sentence + (f"; did you mean {_printable(near[0])}?" if near else ""))
    return Exit.HELD


@command.command("clear", short_help="Forget steps.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "is_all", is_flag=True, help="Forget the whole run.")
@click.option("--force", is_flag=True, help="Also while a run holds the lock.")
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
    """Forget the steps of these names, or with --all the run: they run again.

    Each NAME is as `outlive state ls` prints it, or a step of the run that --run-id names.
    Refused while a run holds the lock of `outlive.run_lock`.
    """
    if bool(names) == is_all:
        raise ScenarioError("outlive state clear: which steps? Give their names, or --all, and not both")
    given = dict(zip(names, names, strict=True))  # by the step that each is
    if names:
        with _told():
            found = {name: _listed(name, directory, run_id, store) for name in names}
        if len({run for run, _ in found.values()}) > 1:
            raise ScenarioError("outlive state clear: NAMEs of several runs; forget those of one at a time")
        run_id = next(run for run, _ in found.values())
        given = {step: name for name, (_, step) in found.items()}
        names = tuple(given)
    with _told(), _alone(directory, run_id or "", force=force):
        runs = list(_runs(directory, run_id or "", store))
        known = {name for run in runs for name in _there(run, names)}
        for run in runs:
            for name in (None,) if is_all else names:
                run.clear(name)
        known -= {name for run in runs for name in _there(run, names)}  # what is none of ours stays
    gone = sorted(known) if is_all else [name for name in names if name in known]
    if out is not None:
        return _as_json(out, run_id=run_id or "", cleared=gone)
    for name in gone or ([] if names else ["nothing"]):
        click.echo(f"forgot {_printable(given.get(name, name))}")
    for name in names:
        if name not in known:
            click.echo(f"{_printable(given[name])} was not marked")
    return Exit.HELD


@command.command("gc", short_help="Remove what killed runs left, and old runs.")
@click.option("--older-than", type=click.FloatRange(0), metavar="DAYS", help="Forget runs not marked since.")
@click.option(
    "--orphans-older-than",
    type=click.FloatRange(0),
    metavar="DAYS",
    help="Where locks say nothing (NFS...), remove temporary files that were not changed since.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
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
    """Remove temporary files that killed runs left, empty directories, and with --older-than old runs.

    The run without an id is forgotten only where --run-id "" asks for it. What a live process writes stays,
    and so does a run that is under way, or of which a mark is damaged or of a newer version. Where locks say
    nothing, as on network file systems, temporary files stay unless --orphans-older-than is given: take more
    days than any write takes.
    """
    removed: list[str] = []
    gone: list[str] = []
    busy: list[str] = []
    with _told():
        several, folders = list(_runs(directory, run_id, store)), _folders(directory)
        for run in several:
            if older_than is None or not (run.run_id or run_id == ""):
                continue
            try:
                with _held(directory, run.run_id, dry_run=dry_run):
                    if _newest(run) < time.time_ns() - older_than * _DAY:
                        removed.append(f"run {_printable(run.run_id)} ({run.store})")
                        gone += _markers(directory, run)
                        if not dry_run:
                            run.clear()
            except AlreadyRunningError:
                busy.append(run.run_id)
        age = None if orphans_older_than is None else orphans_older_than * _DAY / 10**9
        removed += _left_over(folders, gone, age, dry_run=dry_run)
        unknown = [] if age is not None else _unknown(folders)
    if out is not None:
        return _as_json(out, removed=removed, busy=busy, unknown=unknown, dry_run=dry_run)
    for one in removed:
        click.echo(f"{'would remove' if dry_run else 'removed'} {one}")
    if unknown:
        click.echo(
            f"{len(unknown)} temporary {'files stay' if len(unknown) > 1 else 'file stays'}, such as "
            f"{unknown[0]}: no lock on this file system says whether the writer lives; "
            "--orphans-older-than DAYS removes what was not changed for so long"
        )
    for one in busy:
        click.echo(f"run {_printable(one)} is under way and stays")
    return Exit.HELD


def _newest(run: Checkpoints) -> float:
    """Return when a run was marked last, ns; later than ever where a mark does not tell, or there is none."""
    return max((one.get("marked_at", math.inf) for one in run.records()), default=math.inf)


def _markers(directory: Path, run: Checkpoints) -> list[str]:
    """Return the files that are forgotten with a run."""
    if run.store != "files":
        return []
    folder = directory / stem(run.run_id) if run.run_id else directory
    return [str(path) for shape in (f"*{_MARK}", f"*{_ITEMS}/*{_MARK}") for path in folder.glob(shape)]


def _held(directory: Path, run_id: str, *, dry_run: bool) -> AbstractContextManager[None]:
    """Hold the lock of a run meanwhile, where locks are in use; a dry run makes none."""
    lock = directory / (f"run.{stem(run_id)}.lock" if run_id else "run.lock")
    is_wanted = lock.exists() if dry_run else _locks(directory)
    return run_lock(directory, run_id=run_id) if is_wanted else nullcontext()


@command.command("dump", short_help="Write all marks as lines of JSON.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to; else stdout.")
@_where
def dump(output: Path | None, directory: Path, run_id: str | None, store: str | None) -> int:
    """Write all marks as lines of JSON, one a step or item, of all runs or of one."""
    with _told():
        records = [one for run in _runs(directory, run_id, store) for one in run.records()]
        text = "".join(f"{json.dumps(one)}\n" for one in records)
        if output is not None:
            atomic_write(output, text)
    if output is None:
        click.echo(text, nl=False)
    return Exit.HELD


def _runs(directory: Path, run_id: str | None, store: str | None) -> Iterator[Checkpoints]:
    """Yield the checkpoints of one run, or of all, in the stores that there are."""
    if not directory.is_dir():
        raise ScenarioError(f"--dir={str(directory)!r} is no directory; outlive.Checkpoints makes one")
    for kind in _STORES:
        if (store or kind) == kind and (kind == "files" or (directory / "marks.sqlite").exists()):
            ids = Checkpoints(directory, store=kind).runs() if run_id is None else [run_id]
            yield from (Checkpoints(directory, run_id=one, store=kind) for one in ids)
        elif store == kind:
            raise ScenarioError(f"--store={store!r}: there is no marks.sqlite in {str(directory)!r}")


def _named(run_id: str, step: str) -> str:
    """Return a step's name as it is listed: with its run's before it."""
    return "/".join(_printable(part) for part in (run_id, step) if part)


def _listed(name: str, directory: Path, run_id: str | None, store: str | None) -> tuple[str, str]:
    """Return the run and the step that a name means: a step of the run asked for, or one as it is listed."""
    if run_id is not None:
        return run_id, name
    several = list(_runs(directory, None, store))
    known = {(run.run_id, record["step"]) for run in several for record in run.records()}
    if ("", name) in known:
        return "", name
    return next((one for one in sorted(known) if _named(*one) == name), ("", name))


def _steps(run: Checkpoints) -> list[dict[str, Any]]:
    """Return what there is to say of each step of a run, sorted."""
    steps: dict[str, dict[str, Any]] = {}
    for record in run.records():
        step = {"store": run.store, "run_id": run.run_id, "step": record["step"], "marked_at": None}
        row = steps.setdefault(record["step"], {**step, "items": 0, "doubt": _UNMARKED})
        if "item" in record:
            row["items"] += 1
        else:
            row["marked_at"] = record.get("marked_at")
            row["doubt"] = (
                f"its mark is {record['doubt']}" if "doubt" in record else run.why_stale(record["step"])
            )
    return [steps[name] for name in sorted(steps)]


def _there(run: Checkpoints, names: tuple[str, ...]) -> set[str]:
    """Return the steps of a run that have a mark or an item, whole or damaged."""
    found = {record["step"] for record in run.records()}
    # Of a damaged marker with a long name, no record tells that.
    return found | {name for name in names if name not in found and run.why_stale(name) != _UNMARKED}


def _folders(directory: Path) -> list[str]:
    """Return the directories of marks below one of checkpoints, the lowest first, and that itself."""
    found = [str(directory)]
    for folder, names, files in os.walk(directory):
        holds = any(name.endswith(_MARK) for name in files) or any(name.endswith(_ITEMS) for name in names)
        if folder != str(directory) and (holds or folder.endswith(_ITEMS)):
            found.append(folder)
        names[:] = [name for name in names if not name.startswith(".")]
        if len(Path(folder).relative_to(directory).parts) > 1:  # a run, its items, and no further
            names.clear()
    return found[::-1]


def _left_over(folders: list[str], gone: list[str], age: float | None, *, dry_run: bool) -> list[str]:
    """Remove what nobody needs in directories of marks, and those that are empty; return what that was.

    Args:
        folders: The directories.
        gone: Of a dry run, marks that would be gone by now.
        age: Seconds after which a temporary file is an orphan, where no lock says so.
        dry_run: Whether nothing is removed.
    """
    removed: list[str] = []
    for folder in folders:
        if not os.path.isdir(folder):  # it went with its run
            removed.append(folder)
            continue
        removed += remove_orphans(folder, older_than=age, dry_run=dry_run)
        left = {os.path.join(folder, name) for name in os.listdir(folder)} - {*removed, *gone}
        if folder != folders[-1] and not left:
            with suppress(OSError):  # somebody puts something there just now
                if not dry_run:
                    os.rmdir(folder)
                removed.append(folder)
    return removed


def _unknown(folders: list[str]) -> list[str]:
    """Return temporary files of which nothing says whether their writers live."""
    paths = [os.path.join(folder, name) for folder in folders for name in _names(folder)]
    return [path for path in paths if path.endswith(_TEMPORARY) and not is_local(os.path.dirname(path))]


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:  # it was empty, and is removed
        return []


def _locks(directory: Path) -> bool:
    """Tell whether locks are in use."""
    return any(directory.glob("run*.lock"))


@contextmanager
def _alone(directory: Path, run_id: str, *, force: bool) -> Iterator[None]:
    """Hold the lock of a run meanwhile, where locks are in use."""
    if force or not _locks(directory):
        yield
        return
    try:
        with run_lock(directory, run_id=run_id):
            yield
    except AlreadyRunningError as error:
        raise ScenarioError(f"{error}; --force does it all the same") from error


@contextmanager
def _told() -> Iterator[None]:
    """Make one kind of error of what the library refuses."""
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, ScenarioError):
            raise
        raise ScenarioError(getattr(error, "strerror", None) or str(error)) from error


@contextmanager
def _told_of(target: str) -> Iterator[None]:
    """Say of a file that is refused which it is, and why."""
    try:
        yield
    except OSError as error:
        raise ScenarioError(f"{target} cannot be written: {error.strerror}") from error


def _as_json(target: str, **facts: object) -> int:
    text = json.dumps({"schema": 1, **facts}, indent=2) + "\n"
    if target == "-":
        click.echo(text, nl=False)
        return Exit.HELD
    with _told_of(target):
        write_text(Path(target).absolute(), text)
    return Exit.HELD


def _time(ns: int) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(ns / 10**9))
    except (OverflowError, ValueError, OSError):  # a year that no calendar has
        return "-"


def _printable(name: str) -> str:
    return name if name.isprintable() and name else repr(name)
