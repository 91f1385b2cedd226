"""The plans of one level of a search: which there are, which are tried, and which follow from others."""

from __future__ import annotations

import random
from collections.abc import Sequence

from outlive_harness.faults import Fault
from outlive_harness.golden.record import Record
from outlive_harness.golden.similar import groups
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import Waits
from outlive_harness.results.plan import Plan
from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import Coverage

from .equivalent import ended_by_signal, equivalent_points
from .fault_search import Planned, SearchState
from .outputs_first import sampled
from .points import Base, draw, only_distinct, planned, power_cuts, recoveries


def plans_of_level(
    session: Session,
    record: Record,
    one: SearchState,
    level: int,
    choose: random.Random,
    again: set[Plan],
) -> Waits[list[Planned]]:
    """Return the plans of one level; note in the coverage how many there are, and how many are left out."""
    search, coverage = one.search, one.coverage
    faults: Sequence[Fault] = [search.fault] if level == 1 else search.faults
    bases = [Base((), record.ops)] if level == 1 else recoveries(one, level)
    every = planned(record, search, faults, bases, choose)
    count = len(every)
    selects = search.selects(count)
    if selects:
        every = only_distinct(record, every, bases, choose)
    cuts = yield from power_cuts(session, record, one, bases, faults, level)
    count, every = count + len(cuts), every + cuts
    if level == 1:
        selects = selects or (bool(cuts) and search.selects(len(record.ops)))
        plans = _sample(record, one, every, choose, selects=selects)
    else:
        plans = draw(every, search.options.points, choose)
    if plans:
        _note_choice(coverage, len(plans), len(every), count, search.options.seed)
        # Regressions that were tried first count as points only if they are not among these.
        coverage.points += count + (len(again - {each.plan for each in every}) if level == 1 else 0)
    return plans


def _sample(
    record: Record, one: SearchState, every: list[Planned], choose: random.Random, *, selects: bool
) -> list[Planned]:
    """Return as many plans as were asked for; note in the coverage the outputs without a point.

    With *selects*, some of the similar points stand for the others.
    """
    search, count = one.search, one.search.options.points
    if count is None or count >= len(every) or not search.fault.intercepts:
        return draw(every, count, choose)
    alike = groups(record.ops, record.fold, record.stacks) if selects else ()
    sample = sampled(record, [each.plan for each in every], count, choose, alike=alike)
    one.coverage.reason = one.coverage.reason or sample.gap
    by_plan = {each.plan: each for each in every}
    return [by_plan[plan] for plan in sample.plans]


def _note_choice(coverage: Coverage, chosen: int, standing: int, count: int, seed: int) -> None:
    """Note that not all points are tried, if so."""
    if chosen < standing:
        coverage.leave_out(f"sampled {chosen} of {count} points, seed {seed}")
    elif standing < count:
        coverage.leave_out(f"{standing} points stand for {count}, seed {seed}")


def equivalents(
    record: Record, one: SearchState, level: int, plans: Sequence[Plan], alike: SearchState | None
) -> tuple[dict[Plan, list[Plan]], list[Trial]]:
    """Return plans with their equivalents, and trials that follow from those of another fault.

    Both are empty if all plans must be tried.
    """
    search = one.search
    if level > 1 or search.options.select == "all":
        return {}, []
    if search.fault.skips_unchanged:
        return equivalent_points(record, plans), []
    if alike is not None and search.deepest == 1:
        return {}, ended_by_signal(record, plans, alike.trials)
    return {}, []
