"""outlive replay: carry out one failure again, from its id alone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from outlive_harness import __version__
from outlive_harness.config.read import read
from outlive_harness.disk.copying import copy_tree
from outlive_harness.disk.removal import remove_tree
from outlive_harness.explore.replay import replay
from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.marks import marks
from outlive_harness.golden.record import Record
from outlive_harness.history.regressions import regressions_of
from outlive_harness.history.relocate import relocated
from outlive_harness.history.store import ADDED, Store, described, read_back, with_functions
from outlive_harness.report.escaped import visible
from outlive_harness.report.export import export
from outlive_harness.report.replay import tell
from outlive_harness.report.terminal import console
from outlive_harness.results.options import STORE, Options
from outlive_harness.results.plan import Plan, PlanError, parse_plan
from outlive_harness.results.scenario import NO_FILE, Scenario, ScenarioError
from outlive_harness.results.scenario_files import find_files
from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import Exit
from outlive_harness.search.choices import faults_of

from .completion import kept_ids
from .declared import load
from .options import box_dir_option
from .running import facts_of, session_of
from .words import SCENARIOS, complain


@click.command("replay", short_help="Carry out one failure again, exactly.")
@click.argument("identifier", metavar="ID", shell_complete=kept_ids)
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path())
@click.option("--shell", is_flag=True, help="Open a shell in what the crash left.")
@click.option(
    "--export",
    "export_to",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write the program, the boxes and a script that shows the failure, for a bug report.",
)
@box_dir_option
def command(
    identifier: str, paths: tuple[str, ...], *, shell: bool, export_to: Path | None, box_dir: Path | None
) -> int:
    """Carry out one failure again, exactly, show all of it, and keep the boxes.

    ID is SCENARIO:FAULT@OP, as a report shows it. The scenario is the one that failed, as it was kept
    under .outlive/; if none was kept, it is looked for in PATH (default: scenarios/). If the pipeline has
    changed since, its ops are found again by what they do; if an op is gone, no fault is injected.

    Exit status: 1 it violates again, 0 it held, 3 its op is gone, or the crash point was not reached.
    """
    name, colon, text = identifier.rpartition(":")
    if not colon or not name:
        raise PlanError(
            f"ID={identifier!r} is not a replay id: it should be SCENARIO:FAULT@OP, as in report:kill@3"
        )
    plan = parse_plan(text)
    box_dir = box_dir or read(Path.cwd()).settings.get("box_dir")
    store = Store(STORE.absolute())
    one = _scenario_of(identifier, name, paths, store)
    faults_of(Options(faults=tuple(point.fault for point in plan)), one)
    try:
        found = _replayed(identifier, one, plan, store, box_dir)
    except _NotReachedError as error:
        click.echo(f"unknown: {error}")
        return Exit.UNKNOWN
    except OSError as error:
        raise _not_kept(error) from error
    if found is None:
        return Exit.UNKNOWN
    record, trial = found
    _go_on(store.place(identifier), record, trial, identifier, shell=shell, export_to=export_to)
    return Exit.VIOLATED if trial.findings else Exit.HELD


def _replayed(
    identifier: str, one: Scenario, plan: Plan, store: Store, box_dir: Path | None
) -> tuple[Record, Trial] | None:
    """Carry out a plan and show the trial; return it with its golden run, or None if nothing was judged.

    Raises:
        _NotReachedError: the run no longer has the crash point.
        OSError: the boxes cannot be kept.
    """
    facts = store.find(identifier)
    place = store.keep(identifier, facts_of(one)) if facts is None else store.place(identifier)
    is_kept = facts is not None
    known = _known(facts or {}, one, plan, store)
    try:
        with session_of(1, box_dir) as session:
            record, trial = replay(session, one, plan, keep=place, adjust=partial(_adjusted, known))
            if trial is not None:
                _require_same_op(known, trial)
            if trial is not None and trial.judged:
                remove_tree(place / "golden")
                (place / "golden").mkdir()
                copy_tree(record.golden, place / "golden")
                if not is_kept:
                    found = known["marks"] or marks(record, plan)
                    store.keep(identifier, {**facts_of(one), "marks": found, "struck": trial.mark})
                is_kept = True
            tell(console(), record, trial, plan if trial is None else trial.plan, place)
    finally:
        if not is_kept:  # no such point, or an interrupt: there is nothing to come back to
            remove_tree(place)
    return (record, trial) if trial is not None and trial.judged else None


def _not_kept(error: OSError) -> ScenarioError:
    return ScenarioError(f"the boxes cannot be kept under {STORE}/: {error}")


def _known(facts: dict[str, Any], one: Scenario, plan: Plan, store: Store) -> dict[str, Any]:
    """Return what is kept of a failure, with the marks of its ops from wherever they are known."""
    if facts.get("marks"):
        return facts
    return {**facts, "marks": regressions_of(one, Options(store=store.root, regressions=True)).marks_of(plan)}


def _adjusted(facts: dict[str, Any], record: Record, plan: Plan) -> Plan:
    """Return the plan of a kept failure with the numbers that its ops have now, and print what has changed.

    Raises:
        _NotReachedError: an op is gone, or cannot be cut where the plan cuts it.
    """
    if facts.get("version", __version__) != __version__:
        complain(
            f"recorded by version {facts['version']}; this is {__version__}, which may number ops differently"
        )
    found, notes = relocated(record, plan, facts["marks"])
    if found is None:
        raise _NotReachedError(f"{notes[-1]}; {_TEST_ANEW}")
    for note in notes:
        complain(note)
    _check_cut(record, found)
    return found


def _require_same_op(facts: dict[str, Any], trial: Trial) -> None:
    """Return if the last of several crashes was at the same op as before, or something was violated anyway.

    Raises:
        _NotReachedError: it was at another op, so that nothing was violated proves nothing.
    """
    was = facts.get("struck")
    if len(trial.plan) == 1 or not trial.judged or not was or was == trial.mark:
        return
    last = trial.plan[-1]
    note = f"the recovery has changed: its op {last.at} was {was!r}, and is now {trial.mark!r}"
    if not trial.findings:
        raise _NotReachedError(f"{note}; {_TEST_ANEW}")
    complain(note)


#: What to do if the op of a failure cannot be found again.
_TEST_ANEW = "whether the failure is still there is not known: run the whole test again"


class _NotReachedError(Exception):
    """A crash point that the run does not have."""


def _check_cut(record: Record, plan: Plan) -> None:
    """Return if the op of a plan's first point is one that its fault can act on.

    Raises:
        _NotReachedError: it is not, for example no write where a write is to be cut.
    """
    point = plan[0]
    if not 0 < point.at <= len(record.ops):
        return
    op = record.ops[point.at - 1]
    why = FAULTS[point.fault].objection(point, op)
    if why:
        what = visible(op.describe())
        raise _NotReachedError(f"the run has no crash point {point}: op {point.at} is {what!r}, {why}")


def _go_on(
    place: Path, record: Record, trial: Trial, identifier: str, *, shell: bool, export_to: Path | None
) -> None:
    """Export the failure and open a shell, if asked to."""
    if export_to is not None:
        try:
            export(place, record, trial, identifier, export_to)
        except OSError as error:
            raise ScenarioError(f"--export={str(export_to)!r}: {error.strerror or error}") from error
        click.echo(f"wrote {export_to}; run {export_to}/reproduce.sh")
    if shell:
        program = os.environ.get("SHELL") or "/bin/sh"
        click.echo(f"{program} in {place / 'crashed'}; golden/ and recovered/ are beside it; exit closes it")
        try:
            subprocess.run([program], cwd=place / "crashed", check=False)
        except OSError as error:
            raise ScenarioError(f"SHELL={program!r} does not start: {error.strerror}") from error


def _scenario_of(identifier: str, name: str, paths: Sequence[str], store: Store) -> Scenario:
    """Return the scenario of an id: as it failed, else as it is declared, else as another of its failures.

    Raises:
        ScenarioError: there is no such scenario.
    """
    facts = None if paths else store.find(identifier)
    if facts is not None:
        kept = _as_kept(facts)
        _print_which(facts, f"{identifier} was also printed for others")
        return kept
    where: Sequence[str | Path] = paths or ([SCENARIOS] if SCENARIOS.is_dir() else [])
    one = _declared(name, where)
    if one is not None:
        return one
    ids = store.ids()
    others = [] if paths else [other for other in ids if other.rpartition(":")[0] == name]
    for facts in filter(None, map(store.find, others)):
        complain(f"{identifier} is not kept; replayed with the scenario of {facts['id']}")
        kept = _as_kept(facts)
        _print_which(facts, f"{facts['id']} was also printed for others")
        return kept
    more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
    looked = ", ".join(map(str, where)) or "a directory scenarios/, which is not here"
    elsewhere = "" if paths else "; if it is elsewhere, give its file after ID"
    raise ScenarioError(
        f"ID={identifier!r}: no scenario {name!r} in {looked}{elsewhere}; failures kept under {STORE}/: "
        f"{', '.join(ids[:_LISTED]) or 'none'}{more}"
    )


#: How many kept ids are listed if one is not found.
_LISTED = 10


def _declared(name: str, paths: Sequence[str | Path]) -> Scenario | None:
    """Return the scenario of a name, looked for in files of that name first; None if there is none."""
    files = sorted(find_files(paths), key=lambda file: file.stem != name)
    config = read(Path.cwd())
    for file in files:
        for one in load([file], partial(config.fill, door="test"))[0]:
            if one.name == name:
                return one
    return None


def _print_which(facts: dict[str, Any], others: str) -> None:
    """Print which command and options an id is replayed with, if it was also printed for others."""
    if facts.get("earlier"):
        complain(f"replayed: {described(facts.get('scenario') or {})}")
        complain(f"{others}: {'; '.join(facts['earlier'])}")


def _as_kept(facts: dict[str, Any]) -> Scenario:
    """Return the scenario that failed, with the values that the command line gave it."""
    kept = read_back(facts.get("scenario") or {})
    if os.path.basename(kept.file) == NO_FILE:
        return kept
    if not os.path.isfile(kept.file):
        raise ScenarioError(f"the scenario's file is gone: {kept.file}")
    one = _declared(kept.name, [Path(kept.file)])
    if one is None:
        raise ScenarioError(f"{kept.file} no longer declares a scenario {kept.name!r}")
    for key in ADDED:
        then, now = getattr(kept, key), getattr(one, key)
        then = with_functions(then, now) if key == "read" else then
        if then != now:
            complain(f"replayed with {key}={then!r}, as it failed; {kept.file} now says {now!r}")
            setattr(one, key, then)
    return one
