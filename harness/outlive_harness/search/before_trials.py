"""Crash states looked at before any trial: what a recording tells of them, and what the trials will take."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from outlive_harness.golden.record import Record
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session, processors
from outlive_harness.jobs.tasks import Job, Waits, results_of, submit
from outlive_harness.results.plan import Plan
from outlive_harness.trial.judge_states import JudgedStates, JudgeStates, can_be_judged

from .fault_search import Onlooker, SearchState
from .forecast import LONG, Forecast, costs
from .order import OUTPUTS, Told, class_of_plan, classes_of, spread

#: States that one task judges.
_CHUNK = 64
#: Plans by the id of their search.
Plans = Mapping[int, Sequence[Plan]]


def look_ahead(
    session: Session,
    record: Record,
    several: Sequence[SearchState],
    plans: Plans,
    shares: Mapping[Plan, int],
    onlooker: Onlooker,
) -> Waits[dict[int, Told]]:
    """Judge the crash states that the recording tells; return what is known of each search's plans.

    That pays where trials take long, where a budget may leave most of them out, and where one violation is
    enough.

    Args:
        session: the session whose workers judge them.
        record: the golden run.
        several: the searches.
        plans: their plans, of one crash each.
        shares: how many more points some plans stand for.
        onlooker: gets what is wrong with the states.
    """
    search = several[0].search
    is_long = takes_long(session, record, [(one, plan) for one in several for plan in plans[id(one)]])
    is_told = not record.refused and not (search.by_exec and record.preload is not None)
    if is_told and not search.wanted and (is_long or search.first or search.options.budget is not None):
        yield from _judge(session, record, several, plans)
        if is_long:
            onlooker.seen([trial for one in several for trial in one.seen.examples])
    return {
        id(one): Told(frozenset(trial.plan for trial in one.seen.examples), one.seen.states, shares)
        for one in several
    }


def takes_long(session: Session, record: Record, ordered: Sequence[tuple[SearchState, Plan]]) -> bool:
    """Return whether trials take long, or longer than a budget."""
    forecast = forecast_of(record, ordered)
    seconds, until = forecast.seconds(session.workers, processors()), forecast.until
    return seconds >= LONG or (until is not None and seconds > until - time.time())


def forecast_of(record: Record, ordered: Sequence[tuple[SearchState, Plan]]) -> Forecast:
    """Return what trials of single crashes will take.

    Args:
        record: the golden run.
        ordered: the plans in the order of their trials, each with its search.
    """
    searches = list({id(one): one for one, _ in ordered}.values())
    classes = classes_of(record)
    return Forecast(
        tuple(dict.fromkeys(one.search.fault.name for one in searches)),
        sum(one.coverage.points for one in searches),
        tuple(
            costs(
                record, [(plan, one.seen.states.get(plan, ""), one.from_recording) for one, plan in ordered]
            )
        ),
        tuple(class_of_plan(plan, classes) == OUTPUTS for _, plan in ordered),
        searches[0].search.until if searches else None,
        record.busy,
        record.idle,
        record.memory,
    )


def _judge(session: Session, record: Record, several: Sequence[SearchState], plans: Plans) -> Waits[None]:
    """Have workers judge the states of each search's plans."""
    search = several[0].search
    until = search.looks_until()
    owners: list[SearchState] = []
    tasks: list[JudgeStates] = []
    for one in several:
        told = [plan for plan in plans[id(one)] if can_be_judged(plan[0].fault)]
        chunks = [tuple(told[start : start + _CHUNK]) for start in range(0, len(told), _CHUNK)]
        # If the time is not enough for all of them, those judged are spread over the run.
        for some in spread(chunks) if chunks else ():
            owners.append(one)
            tasks.append(JudgeStates(record.place, some, one.search.profile, search.options.memory))
    if not tasks:
        return
    job: Job[JudgedStates] = submit(
        session.root, tasks, priority=Priority.RECORDING, rank=several[0].rank, until=until, label="judging"
    )
    yield from results_of(job)
    for number, result in sorted(job.results.items()):
        if isinstance(result, JudgedStates):
            owners[number].seen.add(result)
