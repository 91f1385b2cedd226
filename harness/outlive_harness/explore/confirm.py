"""Violations carried out once more, in a fresh process, and what failed kept: boxes, plans, marks."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from pathlib import Path

from outlive_harness import __version__
from outlive_harness.plan import Point, digest, parse_plan
from outlive_harness.scenario import Scenario
from outlive_harness.store import Store, write_down

from . import board
from .corpus import Regressions
from .golden import Record
from .options import Options
from .rebase import marks
from .results import ScenarioResult, Trial, Violation
from .session import Session
from .shrink import shrunk
from .tapes import MEMORY
from .trial import Order
from .waiting import Waiting, collect

#: Violations of one scenario whose boxes are kept.
_KEPT = 3


def confirm(
    session: Session, scenario: Scenario, record: Record, result: ScenarioResult, options: Options
) -> Generator[Waiting, None, None]:
    """Carry out each violation's plan once more, by exec; keep the boxes of the first for a person."""
    store = Store(options.store.absolute())
    for number, found in enumerate(result.violations):
        if not found.point:
            continue
        violation, is_boxed = found, number < _KEPT and not (scenario.expect or found.known)
        if is_boxed:
            violation = result.violations[number] = yield from shrunk(session, record, found, options)
        # Each id that is told can be replayed, with the options that it failed with.
        kept = _place(store, scenario, record, violation, result)
        place = kept if is_boxed else None
        if kept is None:
            violation.replay = ""
        plan = parse_plan(violation.point)
        trial = yield from once(session, record, plan, place, options.memory)
        if place is not None and trial.trouble:
            result.warnings.append(f"boxes are not kept whole: {violation.replay}: {trial.trouble}")
            trial = yield from once(session, record, plan, None, options.memory)
        violation.confirmed = any(one.kind == violation.kind for one in trial.findings)
        violation.kept = str(place) if place is not None else ""


def remember(regressions: Regressions, record: Record, result: ScenarioResult) -> None:
    """Keep what failed, to be struck first from now on."""
    failed = [one for one in result.violations if one.kept and one.confirmed and one.fault != "timer"]
    try:
        if failed and regressions.keep(record, failed):
            result.corpus = str(regressions.path)
    except OSError as error:
        why = error.strerror or error
        result.warnings.append(f"failures cannot be kept in {regressions.path}: {why}")


def _place(
    store: Store, scenario: Scenario, record: Record, violation: Violation, result: ScenarioResult
) -> Path | None:
    """Write down what a replay needs, and return where; None, and a warning, if that cannot be."""
    known = marks(record, parse_plan(violation.point))
    facts = {"version": __version__, "kind": violation.kind, "message": violation.message, "marks": known}
    facts["struck"] = violation.mark
    try:
        return store.keep(violation.replay, {**facts, "scenario": write_down(scenario)})
    except OSError as error:
        why = error.strerror or error
        warning = f"failures cannot be kept in {store.root}: {why}; so no line is given that replays one"
        result.warnings += [warning] if warning not in result.warnings else []
        return None


def once(
    session: Session,
    record: Record,
    plan: Sequence[Point],
    keep: Path | None,
    memory: int = MEMORY,
    *,
    each: bool = False,
) -> Generator[Waiting, None, Trial]:
    order = Order(record.place, tuple(plan), keep=keep, memory=memory, by_exec=True, each=each)
    name = f"u-{record.place.name}-{digest(order.plan)}-{time.time_ns()}"
    job = board.post(session.root, name, "trial", [order])
    waiting = Waiting(job, 1)
    yield waiting
    return collect(waiting, Trial)[0]
