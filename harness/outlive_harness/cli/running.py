"""One run of scenarios from the command line: explore, report, and return an exit status."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from outlive_harness import __version__
from outlive_harness.disk.realfs import missing
from outlive_harness.explain.task import explain
from outlive_harness.explore.engine import explore
from outlive_harness.history import baseline
from outlive_harness.history.baseline import Baseline
from outlive_harness.history.golden_runs import Records
from outlive_harness.history.ledger import Ledger
from outlive_harness.history.regressions import regressions_of
from outlive_harness.history.store import Store, write_down
from outlive_harness.jobs.session import NoRoomError, Session
from outlive_harness.report import files as report_files
from outlive_harness.report import github
from outlive_harness.report.terminal import Live, console, summary
from outlive_harness.results.options import MEMORY, STORE, Options
from outlive_harness.results.scenario import Scenario, ScenarioError
from outlive_harness.results.verdicts import Exit, RunResult, ScenarioResult
from outlive_harness.search.choices import faults_of, profile_of

from .words import complain


def run_scenarios(
    scenarios: list[Scenario], broken: list[ScenarioResult], wish: dict[str, Any], *, forks: bool = False
) -> Exit:
    """Explore scenarios, report the results wherever reports were asked for, and return the exit status.

    Args:
        scenarios: the scenarios.
        broken: results of scenario files that could not be loaded.
        wish: the options of the command line.
        forks: whether no code but ours has run in this process, so that workers may be forked from it.
    """
    options = options_of(wish)
    known = _baseline(wish["baseline"], update=wish["update_baseline"], fail_fast=wish["fail_fast"])
    for one in scenarios:  # an error before anything is run
        faults_of(options, one)
        profile_of(options, one)
    scenarios, damaged = _readable(scenarios, options)
    broken = broken + damaged
    reports = report_files.asked_for({name: wish[f"{name}_file"] for name in report_files.WRITERS})
    for report in reports:
        report.check()
    out = console(stderr=any(report.target is None for report in reports))
    result = RunResult([], options.seed, 0.0)
    if scenarios:
        result = _explored(scenarios, options, wish, out, known=known, forks=forks)
    steps: list[Callable[[], None]] = []
    if wish["update_baseline"] and known is not None and not result.interrupted:
        found = RunResult(list(result.scenarios), result.seed, result.seconds)
        steps.append(partial(_write_baseline, known, found))
    result.scenarios += broken
    summary(out, result)
    if github.is_here(os.environ) if wish["github"] is None else wish["github"]:
        _report_to_github(result, out)
    _each([*steps, *(partial(report.write, result) for report in reports)])
    return result.exit_status


def _explored(
    scenarios: list[Scenario],
    options: Options,
    wish: dict[str, Any],
    out: Console,
    *,
    known: Baseline | None,
    forks: bool,
) -> RunResult:
    """Explore scenarios while their progress is shown; note in the ledger that the run came to its end."""
    ledger = _ledger(options.store, wish, known)
    expected = [one.name for one in scenarios if one.expect]
    with (
        session_of(wish["jobs"], wish["box_dir"], forks=forks) as session,
        Live(out, len(scenarios), expected=expected) as live,
    ):
        result = explore(
            session,
            scenarios,
            options,
            live,
            ledger=ledger,
            explain=explain,
            records=Records(session),
            baseline=known,
        )
    if ledger is not None and not result.interrupted:
        ledger.end()
    if result.interrupted:
        _show_unfinished(live, result, scenarios, Store(options.store))
    return result


def options_of(wish: dict[str, Any]) -> Options:
    """Return the options of a run: a field has the value of the option of its name, or is made here."""
    given = {field.name: wish[field.name] for field in fields(Options) if field.name in wish}
    given |= {
        "store": STORE.absolute(),
        "real_fs": _real_fs(wish["real_fs"]),
        "exhibit": wish["html_file"] is not None,
        "memory": MEMORY if wish["memory"] is None else wish["memory"] << 20,
        "regressions": True,
    }
    return Options(**given)


def _real_fs(name: str | None) -> str:
    """Return the name of a real file system, "" for none.

    Raises:
        ScenarioError: this machine cannot make such a file system.
    """
    why = missing(name) if name else ""
    if why:
        raise ScenarioError(f"--real-fs={name!r} cannot be used here: {why}")
    return name or ""


def _readable(scenarios: Sequence[Scenario], options: Options) -> tuple[list[Scenario], list[ScenarioResult]]:
    """Return the scenarios whose regressions can be read, and a result for each of the others."""
    good: list[Scenario] = []
    damaged: list[ScenarioResult] = []
    for one in scenarios:
        try:
            regressions_of(one, options)
        except ScenarioError as error:
            complain(str(error))
            damaged.append(ScenarioResult(one.name, reason=str(error), file=one.file, is_misuse=True))
        else:
            good.append(one)
    return good, damaged


def _each(steps: Sequence[Callable[[], None]]) -> None:
    """Carry out each step, even if others fail.

    Raises:
        ScenarioError: some steps failed; the message holds that of each.
    """
    failed = []
    for step in steps:
        try:
            step()
        except ScenarioError as error:
            failed.append(str(error))
    if failed:
        raise ScenarioError("\n".join(failed))


def _baseline(path: Path | None, *, update: bool, fail_fast: bool) -> Baseline | None:
    """Return the baseline; one that is to be written takes in every violation that will be found."""
    if path is None:
        if update:
            raise ScenarioError("--update-baseline: which file? Give it with --baseline FILE")
        return None
    if fail_fast:
        raise ScenarioError("--fail-fast cannot go with --baseline: a known violation would hide a new one")
    if not update:
        return baseline.read(path)
    try:
        report_files.check_target(path.absolute())
    except OSError as error:
        raise _no_baseline(path, error) from error
    return replace(baseline.read(path) if path.exists() else Baseline(path), takes_all=True)


def _write_baseline(known: Baseline, result: RunResult) -> None:
    now = baseline.updated(known, result.scenarios)
    try:
        baseline.write(now)
    except OSError as error:
        raise _no_baseline(now.path, error) from error
    click.echo(f"outlive: {baseline.known_count(len(now.known))} in {now.path}", err=True)


def _no_baseline(path: Path, error: OSError) -> ScenarioError:
    return ScenarioError(f"--baseline={str(path)!r} cannot be written: {error.strerror or error}")


def _ledger(root: Path, wish: dict[str, Any], known: Baseline | None) -> Ledger | None:
    """Return the ledger of results; None for a command, or if nothing can be written there."""
    if "resume" not in wish:
        return None
    ledger = Ledger(Store(root), changed=wish["changed"], resume=wish["resume"], baseline=known)
    try:
        if not ledger.begin() and wish["resume"]:
            complain("--resume: the last run was not cut short, so all scenarios are run")
    except OSError as error:
        if wish["changed"] or wish["resume"]:
            raise ScenarioError(f"no results can be kept in {root}: {error.strerror or error}") from error
        return None
    return ledger


def _report_to_github(result: RunResult, out: Console) -> None:
    for line in github.commands(result):
        out.print(Text(line))
    try:
        github.append_summary(result, os.environ)
    except OSError as error:
        complain(f"GITHUB_STEP_SUMMARY cannot be written: {error.strerror or error}")


#: Bytes: with more room than that in the directory of the boxes, it is another disk that is full.
_ROOM = 1 << 20


@contextlib.contextmanager
def session_of(jobs: int | None, box_dir: Path | None, *, forks: bool = False) -> Iterator[Session]:
    """Open a session with its workers, and close it.

    Raises:
        ScenarioError: no boxes can be made.
        NoRoomError: the directory of the boxes is full.
    """
    session = Session(jobs=jobs, box_dir=box_dir, forks=forks)
    try:
        session.open()
    except OSError as error:
        raise ScenarioError(
            f"the boxes cannot be made: {error}; choose another directory with --box-dir"
        ) from error
    try:
        yield session
    except OSError as error:
        if error.errno == errno.ENOSPC and shutil.disk_usage(session.root).free < _ROOM:
            hint = "choose a directory with more room with --box-dir"
            raise NoRoomError(f"{session.root} is full; {hint}") from error
        raise
    finally:
        session.close()


def _show_unfinished(live: Live, result: RunResult, scenarios: Sequence[Scenario], store: Store) -> None:
    """Show the violations of scenarios that an interrupt cut short, and keep what their replay needs."""
    for one, shown in zip(scenarios, result.scenarios, strict=True):
        if shown.interrupted and shown.violations:
            for found in filter(lambda violation: violation.replay, shown.violations):
                try:
                    store.keep(found.replay, facts_of(one, found.kind, found.message))
                except OSError:  # no replay line is better than one that does not work
                    found.replay = ""
            live.finished(shown)


def facts_of(one: Scenario, kind: str = "", message: str = "") -> dict[str, Any]:
    """Return what is kept with a failure, so that it can be replayed."""
    return {"version": __version__, "kind": kind, "message": message, "scenario": write_down(one)}
