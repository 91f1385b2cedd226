"""More crashes in a row than were asked for, while time is left, in an order drawn from the seed."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace

from outlive_harness.golden.record import Record
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import Waits, gather, submit
from outlive_harness.results.plan import Plan
from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import Coverage
from outlive_harness.trial.trial import TrialTask

from .fault_search import MORE, Planned, SearchState
from .points import find_power_cuts, planned, recoveries

#: Plans that are submitted at a time.
_BATCH = 64
#: The most recoveries of one fault's states in which crashes are planned, for each further level.
_BASES = 256
#: The most recoveries of each fault in which power cuts are planned.
_CUT = 4


def search_deeper(
    session: Session, record: Record, several: Sequence[SearchState], until: float
) -> Waits[None]:
    """Continue searches with one more crash at a time, until all is done or time is up.

    Only plans that were carried out count as points: the others were not asked for, and are not a gap.
    """
    search = several[0].search
    options = search.options
    for level in range(search.depth + 1, search.depth + MORE + 1):
        tasks: dict[Plan, tuple[SearchState, TrialTask]] = {}
        for one in several:
            plans = yield from _plans(session, record, one, level, until)
            keep = level < search.deepest
            tasks |= {each.plan: (one, one.task(record, each, keep_states=keep)) for each in plans}
        drawn = list(tasks)
        text = f"{options.seed}:{search.scenario.name}:deeper:{level}"
        random.Random(text.encode(errors="surrogateescape")).shuffle(drawn)
        for start in range(0, len(drawn), _BATCH):
            if time.time() >= until:
                return
            some = [tasks[plan][1] for plan in drawn[start : start + _BATCH]]
            job = submit(session.root, some, priority=Priority.DEEPER, until=until, label="deeper")
            done: list[Trial] = []
            try:
                yield from gather(job, done)
            finally:
                for trial in done:
                    _count(tasks[trial.plan][0], trial)
            if any(trial.findings for trial in done):
                return  # the user must repair that first


def _plans(
    session: Session, record: Record, one: SearchState, level: int, until: float
) -> Waits[list[Planned]]:
    """Plan one more crash in recoveries, and power cuts in some of them."""
    search = one.search
    choose = search.random(level)
    bases = recoveries(one, level)
    bases = choose.sample(bases, min(_BASES, len(bases)))
    plans = planned(record, search, search.faults, bases, choose)
    # Points that are left out here are not a gap, so the real coverage must not take the note.
    aside = replace(one, search=replace(search, until=until), coverage=Coverage())
    for fault in search.faults:
        if fault.cuts_power == "model" and bases:
            some = bases[:_CUT]
            plans += yield from find_power_cuts(session, record, aside, some, fault, Priority.DEEPER)
    return plans


def _count(one: SearchState, trial: Trial) -> None:
    """Count one trial; a run that ended before its point shows nothing."""
    if not trial.reached:
        return
    one.trials.append(trial)
    one.coverage.points += 1
    one.coverage.chosen += 1
    one.coverage.deeper += 1
