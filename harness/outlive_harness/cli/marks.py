"""Marks in a directory of checkpoints, and what killed runs left there: found, listed, removed."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Literal

from outlive import AlreadyRunningError, Checkpoints, remove_orphans, run_lock
from outlive._atomic.orphans import SUFFIX as TEMPORARY
from outlive._checkpoints.marker_files import ITEMS
from outlive._checkpoints.marker_files import SUFFIX as MARK
from outlive._checkpoints.names import stem
from outlive._checkpoints.store import UNMARKED
from outlive._system.locks import is_local
from outlive_harness.results.scenario import ScenarioError

STORES: tuple[Literal["files", "sqlite"], ...] = ("files", "sqlite")


def runs_of(directory: Path, run_id: str | None, store: str | None) -> Iterator[Checkpoints]:
    """Yield the checkpoints of one run or of all, in each store that exists."""
    if not directory.is_dir():
        raise ScenarioError(
            f"--dir={str(directory)!r} is not a directory; outlive.Checkpoints creates it with the first mark"
        )
    for kind in STORES:
        if (store or kind) == kind and (kind == "files" or (directory / "marks.sqlite").exists()):
            ids = Checkpoints(directory, store=kind).runs() if run_id is None else [run_id]
            yield from (Checkpoints(directory, run_id=one, store=kind) for one in ids)
        elif store == kind:
            raise ScenarioError(f"--store={store!r}: there is no marks.sqlite in {str(directory)!r}")


def listed_name(run_id: str, step: str) -> str:
    """Return the name of a step as it is listed: RUN/STEP."""
    return "/".join(printable(part) for part in (run_id, step) if part)


def named(
    names: Sequence[str], directory: Path, run_id: str | None, store: str | None
) -> dict[str, tuple[str, str]]:
    """Return the run and the step that each name means: a step of the given run, or a listed name."""
    if run_id is not None:
        return {name: (run_id, name) for name in names}
    several = runs_of(directory, None, store)
    known = {(run.run_id, record["step"]) for run in several for record in run.records()}
    listed = {listed_name(*one): one for one in sorted(known, reverse=True)}  # of equal names the first
    return {name: ("", name) if ("", name) in known else listed.get(name, ("", name)) for name in names}


def steps_of(run: Checkpoints) -> list[dict[str, Any]]:
    """Return a row for each step of a run, sorted by name."""
    steps: dict[str, dict[str, Any]] = {}
    for record in run.records():
        step = {"store": run.store, "run_id": run.run_id, "step": record["step"], "marked_at": None}
        row = steps.setdefault(record["step"], {**step, "items": 0, "doubt": UNMARKED.problem})
        if "item" in record:
            row["items"] += 1
        else:
            row["marked_at"] = record.get("marked_at")
            row["doubt"] = (
                f"its mark is {record['doubt']}" if "doubt" in record else run.why_stale(record["step"])
            )
    return [steps[name] for name in sorted(steps)]


def present(run: Checkpoints, names: tuple[str, ...]) -> set[str]:
    """Return the steps of a run that have a mark or an item, whole or damaged."""
    found = {record["step"] for record in run.records()}
    # The record of a damaged marker lacks a long name: it is a hash in the name of the file.
    return found | {name for name in names if name not in found and run._store.look(name) is not UNMARKED}  # noqa: SLF001 - the library is ours


def folders_of(directory: Path) -> list[str]:
    """Return the directories of marks in a directory of checkpoints, deepest first, itself last."""
    found = [str(directory)]
    for folder, names, files in os.walk(directory):
        holds = any(name.endswith(MARK) for name in files) or any(name.endswith(ITEMS) for name in names)
        if folder != str(directory) and (holds or folder.endswith(ITEMS)):
            found.append(folder)
        names[:] = [name for name in names if not name.startswith(".")]
        if len(Path(folder).relative_to(directory).parts) > 1:  # a run, its items, and nothing deeper
            names.clear()
    return found[::-1]


def remove_leftovers(folders: list[str], gone: list[str], age: float | None, *, dry_run: bool) -> list[str]:
    """Remove orphaned temporary files and empty directories; return their paths.

    Args:
        folders: the directories of marks, deepest first.
        gone: marks that a dry run counts as removed.
        age: seconds after which a temporary file is an orphan, where locks do not work; None for never.
        dry_run: whether to remove nothing.
    """
    removed: list[str] = []
    for folder in folders:
        if not os.path.isdir(folder):  # it was removed with its run
            removed.append(folder)
            continue
        removed += remove_orphans(folder, older_than=age, dry_run=dry_run)
        left = {os.path.join(folder, name) for name in os.listdir(folder)} - {*removed, *gone}
        if folder != folders[-1] and not left:
            with suppress(OSError):  # another process has just written into it
                if not dry_run:
                    os.rmdir(folder)
                removed.append(folder)
    return removed


def unknown_temporaries(folders: list[str]) -> list[str]:
    """Return the temporary files for which no lock shows whether the writer lives."""
    paths = [os.path.join(folder, name) for folder in folders for name in _names(folder)]
    return [path for path in paths if path.endswith(TEMPORARY) and not is_local(os.path.dirname(path))]


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:  # it was empty, and was removed
        return []


def newest_mark(run: Checkpoints) -> float:
    """Return when a run was last marked, in ns; infinity if a mark has no time, or none exists."""
    return max((one.get("marked_at", math.inf) for one in run.records()), default=math.inf)


def marker_paths(directory: Path, run: Checkpoints) -> list[str]:
    """Return the marker files that are removed with a run."""
    if run.store != "files":
        return []
    folder = directory / stem(run.run_id) if run.run_id else directory
    return [str(path) for shape in (f"*{MARK}", f"*{ITEMS}/*{MARK}") for path in folder.glob(shape)]


@contextmanager
def alone(directory: Path, run_id: str, *, force: bool) -> Iterator[None]:
    """Hold the lock of a run inside the block, if locks are in use."""
    try:
        with nullcontext() if force else held(directory, run_id, dry_run=False):
            yield
    except AlreadyRunningError as error:
        raise ScenarioError(f"{error}; --force clears it anyway") from error


def held(directory: Path, run_id: str, *, dry_run: bool) -> AbstractContextManager[None]:
    """Hold the lock of a run inside the block, if any run here uses locks; a dry run creates none."""
    lock = directory / (f"run.{stem(run_id)}.lock" if run_id else "run.lock")
    is_wanted = lock.exists() if dry_run else any(directory.glob("run*.lock"))
    return run_lock(directory, run_id=run_id) if is_wanted else nullcontext()


def printable(name: str) -> str:
    return name if name.isprintable() and name else repr(name)
