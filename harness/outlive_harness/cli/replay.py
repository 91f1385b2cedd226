"""outlive replay: one failure again, from its id alone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from outlive_harness import __version__
from outlive_harness.disk.tree import copy_tree, remove_tree
from outlive_harness.explore.corpus import regressions_of
from outlive_harness.explore.engine import replay
from outlive_harness.explore.golden import Record
from outlive_harness.explore.options import Options
from outlive_harness.explore.rebase import marks, rebased
from outlive_harness.explore.results import Exit, Trial
from outlive_harness.plan import Plan, PlanError, parse_plan
from outlive_harness.report.export import export
from outlive_harness.report.replay import tell
from outlive_harness.report.terminal import console
from outlive_harness.report.text import visible
from outlive_harness.scenario import Scenario, ScenarioError, find_files
from outlive_harness.store import ADDED, Store, described, read_back
from outlive_harness.trace import WRITES

from .declared import load
from .options import box_dir_option
from .running import facts_of, session_of
from .words import NO_FILE, SCENARIOS, STORE, complain


@click.command("replay", short_help="Carry out one failure again, exactly.")
@click.argument("identifier", metavar="ID")
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
    """Carry out one failure again, exactly, and tell all of it; the boxes are kept.

    ID is SCENARIO:FAULT@OP, as a report shows it. The scenario is the one that failed, as it is kept
    under .outlive/; else it is looked for in PATH (default: scenarios/). Where the pipeline has changed
    since, its ops are found again by what they do; where one is gone, nothing is struck.

    Exit status: 1 it violates again, 0 it held, 3 its op is gone, or the crash point was not reached.
    """
    name, colon, text = identifier.rpartition(":")
    if not colon or not name:
        raise PlanError(
            f"ID={identifier!r} is no replay id: it should be SCENARIO:FAULT@OP, as in report:kill@3"
        )
    plan = parse_plan(text)
    store = Store(STORE.absolute())
    one = _scenario_of(identifier, name, paths, store)
    Options(faults=tuple(point.fault for point in plan)).faults_of(one)
    facts = store.find(identifier)
    try:
        place = store.keep(identifier, facts_of(one)) if facts is None else store.place(identifier)
    except OSError as error:
        raise _not_kept(error) from error
    is_kept = facts is not None
    known = _known(facts or {}, one, plan, store)
    try:
        with session_of(1, box_dir) as session:
            record, trial = replay(session, one, plan, keep=place, adjust=partial(_adjusted, known))
            if trial is not None:
                _demand_its_op(known, trial)
            is_judged = trial is not None and trial.judged
            if is_judged:
                remove_tree(place / "golden")
                (place / "golden").mkdir()
                copy_tree(record.place / "golden", place / "golden")
            if trial is not None and is_judged and not is_kept:
                told = known["marks"] or marks(record, plan)
                store.keep(identifier, {**facts_of(one), "marks": told, "struck": trial.mark})
            is_kept = is_kept or is_judged
            tell(console(), record, trial, plan if trial is None else trial.plan, place)
    except _NotReachedError as error:
        click.echo(f"unknown: {error}")
        return Exit.UNKNOWN
    except OSError as error:
        raise _not_kept(error) from error
    finally:
        if not is_kept:  # a point that is none, or an interrupt: nothing to come back to
            remove_tree(place)
    if trial is None or not is_judged:
        return Exit.UNKNOWN
    _go_on(place, record, trial, identifier, shell=shell, export_to=export_to)
    return Exit.VIOLATED if trial.findings else Exit.HELD


def _not_kept(error: OSError) -> ScenarioError:
    return ScenarioError(f"the boxes cannot be kept under {STORE}/: {error}")


def _known(facts: dict[str, Any], one: Scenario, plan: Plan, store: Store) -> dict[str, Any]:
    """Return what is kept of a failure, with what tells its ops again from wherever that is known."""
    if facts.get("marks"):
        return facts
    return {**facts, "marks": regressions_of(one, Options(store=store.root, corpus=True)).marks_of(plan)}


def _adjusted(facts: dict[str, Any], record: Record, plan: Plan) -> Plan:
    """Find the ops of a kept failure again, and say where they are others now.

    Raises:
        _NotReachedError: one of them is gone, or is not cut where the plan cuts it.
    """
    if facts.get("version", __version__) != __version__:
        complain(f"recorded by version {facts['version']}; this is {__version__}, which may count otherwise")
    found, notes = rebased(record, plan, facts["marks"])
    if found is None:
        raise _NotReachedError(f"{notes[-1]}; {_TEST_ANEW}")
    for note in notes:
        complain(note)
    _check_cut(record, found)
    return found


def _demand_its_op(facts: dict[str, Any], trial: Trial) -> None:
    """Take it for no proof that nothing was violated where the last of several crashes struck another op.

    Raises:
        _NotReachedError: it did.
    """
    was = facts.get("struck")
    if len(trial.plan) == 1 or not trial.judged or not was or was == trial.mark:
        return
    last = trial.plan[-1]
    note = f"the recovery has changed: op {last.at} of it was {was!r}, and is {trial.mark!r} now"
    if not trial.findings:
        raise _NotReachedError(f"{note}; {_TEST_ANEW}")
    complain(note)


#: What to do where no more is left of a failure than its number.
_TEST_ANEW = "whether the failure is still there is not known: run the whole test again"


class _NotReachedError(Exception):
    """A crash point that the run does not have."""


def _check_cut(record: Record, plan: Plan) -> None:
    """Refuse to cut what is no write, or at a byte that it does not write: nothing would be cut.

    Raises:
        _NotReachedError: the run has no such point.
    """
    point = plan[0]
    is_cut = point.fault == "torn" or (point.fault == "full" and point.part)
    if not is_cut or not 0 < point.at <= len(record.ops):
        return
    op = record.ops[point.at - 1]
    kinds = WRITES if point.fault == "torn" else ("write",)
    if op.kind not in kinds or op.syscall == "ioctl" or not 0 < point.part < op.length:
        what = visible(op.describe())
        raise _NotReachedError(
            f"the run has no crash point {point}: op {point.at} is {what!r}, which is not torn there"
        )


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
        program = os.environ.get("SHELL") or "/bin/sh"
        click.echo(f"{program} in {place / 'crashed'}; golden/ and recovered/ are beside it; exit ends it")
        try:
            subprocess.run([program], cwd=place / "crashed", check=False)
        except OSError as error:
            raise ScenarioError(f"SHELL={program!r} does not start: {error.strerror}") from error


def _scenario_of(identifier: str, name: str, paths: Sequence[str], store: Store) -> Scenario:
    """Find the scenario of a replay id: as it failed, or as it is declared, or as it failed otherwise."""
    facts = None if paths else store.find(identifier)
    if facts is not None:
        kept = _as_kept(facts)
        _tell_which(facts, f"{identifier} was printed for others, too")
        return kept
    where: Sequence[str | Path] = paths or ([SCENARIOS] if SCENARIOS.is_dir() else [])
    one = _declared(name, where)
    if one is not None:
        return one
    ids = store.ids()
    others = [] if paths else [other for other in ids if other.rpartition(":")[0] == name]
    for facts in filter(None, map(store.find, others)):
        complain(f"{identifier} is not kept; replayed with what {facts['id']} is of")
        kept = _as_kept(facts)
        _tell_which(facts, f"{facts['id']} was printed for others, too")
        return kept
    more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
    looked = ", ".join(map(str, where)) or "a directory scenarios/, which is not here"
    elsewhere = "" if paths else "; where it is elsewhere, give its file after ID"
    raise ScenarioError(
        f"ID={identifier!r}: no scenario {name!r} in {looked}{elsewhere}; failures kept under {STORE}/: "
        f"{', '.join(ids[:_LISTED]) or 'none'}{more}"
    )


#: Kept ids that are named where one is not found.
_LISTED = 10


def _declared(name: str, paths: Sequence[str | Path]) -> Scenario | None:
    """Look for a scenario by its name, first in files of that name."""
    files = sorted(find_files(paths), key=lambda file: file.stem != name)
    for file in files:
        for one in load([file])[0]:
            if one.name == name:
                return one
    return None


def _tell_which(facts: dict[str, Any], others: str) -> None:
    """Say which command and options an id stands for, where it was printed for others, too."""
    if facts.get("earlier"):
        complain(f"replayed: {described(facts.get('scenario') or {})}")
        complain(f"{others}: {'; '.join(facts['earlier'])}")


def _as_kept(facts: dict[str, Any]) -> Scenario:
    """Make the scenario that failed, with all that the command line had added to it."""
    kept = read_back(facts.get("scenario") or {})
    if os.path.basename(kept.file) == NO_FILE:
        return kept
    if not os.path.isfile(kept.file):
        raise ScenarioError(f"the scenario's file is gone: {kept.file}")
    one = _declared(kept.name, [Path(kept.file)])
    if one is None:
        raise ScenarioError(f"{kept.file} has no scenario {kept.name!r} any more")
    for key in ADDED:
        then, now = getattr(kept, key), getattr(one, key)
        if then != now:
            complain(f"replayed with {key}={then!r}, as it failed; {kept.file} now says {now!r}")
            setattr(one, key, then)
    return one
