"""The trials of several faults, level by level: single crashes, then crashes in the recoveries after them.

Faults take turns. Those whose trials follow from another fault's come after that; and if one violation is
enough, those that cut the power join in after a few trials, as their many crash states take time to plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.record import Record
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import Waits, result_of, submit
from outlive_harness.results.plan import Plan
from outlive_harness.results.trials import Outcome, Trial
from outlive_harness.trial.recording_tasks import FindUnreachable
from outlive_harness.trial.trial import TrialTask

from .before_trials import forecast_of, look_ahead, takes_long
from .carry_out import Tried, carry_out, is_enough
from .equivalent import trials_of_equivalents
from .fault_search import Onlooker, Planned, SearchState
from .order import Told, by_turns, in_order, spread
from .planning import equivalents, plans_of_level

#: Crash states for which it pays to load a recording.
_WORTH = 8
#: Trials after which faults that cut the power join in, if one violation is enough: theirs take long to plan.
_FIRST = 8


@dataclass(slots=True)
class _Turn:
    """What one search tries on one level.

    Attributes:
        one: the search.
        level: the level.
        plans: the plans that are carried out.
        same: for some of them, the plans that follow from their trials.
        known: trials that follow from those of another fault.
        is_ordered: whether the plans are in the order of their trials.
    """

    one: SearchState
    level: int
    plans: list[Planned]
    same: dict[Plan, list[Plan]] = field(default_factory=dict)
    known: list[Trial] = field(default_factory=list)
    is_ordered: bool = False


def search_levels(
    session: Session,
    record: Record,
    several: Sequence[SearchState],
    *,
    onlooker: Onlooker,
    before: Mapping[str, SearchState],
) -> Waits[None]:
    """Carry out searches, and fill in their coverages and trials.

    Args:
        session: the session whose workers run the trials.
        record: the golden run.
        several: the searches.
        onlooker: gets the news.
        before: these searches, and those that were carried out before, by the names of their faults.
    """
    again = yield from _again(session, record, several)
    whole = [one for one in several if not one.search.kept_alone]
    if whole and whole[0].search.first and is_enough(several):
        return
    for level in range(1, max((one.search.depth for one in whole), default=0) + 1):
        went_on = False
        for groups in _waves([one for one in whole if one.search.depth >= level], before, level):
            turns: list[_Turn] = []
            for number, group in enumerate(groups, start=1):
                for one in group:
                    turn = yield from _turn(session, record, one, level, again.get(id(one), set()), before)
                    turns += [turn] if turn is not None else []
                is_last = number == len(groups)
                yield from _prepared(session, record, turns, onlooker, is_last=is_last)
                yield from _carried_out(session, record, turns, None if is_last else _FIRST)
                if is_enough(several):
                    break
            _conclude(record, turns)
            if is_enough(several):
                return
            went_on = went_on or bool(turns)
        if not went_on:
            return


def _waves(
    several: Sequence[SearchState], before: Mapping[str, SearchState], level: int
) -> Iterator[list[list[SearchState]]]:
    """Yield the searches that take turns, in groups; a group joins in after a few trials of those before."""
    others: list[SearchState] = []
    cuts: list[SearchState] = []
    followers: list[SearchState] = []
    for one in several:
        fault = one.search.fault
        if level == 1 and fault.ends_as in before:
            followers.append(one)
        elif level == 1 and one.search.first and fault.cuts_power:
            cuts.append(one)
        else:
            others.append(one)
    yield [group for group in (others, cuts) if group]
    yield [followers] if followers else []


def _turn(
    session: Session,
    record: Record,
    one: SearchState,
    level: int,
    again: set[Plan],
    before: Mapping[str, SearchState],
) -> Waits[_Turn | None]:
    """Return what a search tries on a level; None if there is nothing."""
    search = one.search
    choose = search.random(level)
    plans = yield from plans_of_level(session, record, one, level, choose, again)
    one.is_planned = True
    if not plans:
        return None
    plans = [each for each in plans if each.plan not in again]
    if level == 1:
        enough = search.fault.is_recorded and len(plans) >= _WORTH
        one.from_recording = enough and not search.by_exec
    elif search.until is not None:  # a budget must not always cut off the same points
        choose.shuffle(plans)
    elif search.wanted or search.first:
        plans = spread(plans)
    alike = before.get(search.fault.ends_as)
    same, known = equivalents(record, one, level, [each.plan for each in plans], alike)
    follow = {trial.plan for trial in known} | {plan for others in same.values() for plan in others}
    return _Turn(one, level, [each for each in plans if each.plan not in follow], same, known)


def _prepared(
    session: Session, record: Record, turns: Sequence[_Turn], onlooker: Onlooker, *, is_last: bool
) -> Waits[None]:
    """Look at the crash states of the searches that were not looked at yet, and put their plans in order."""
    fresh = [turn for turn in turns if turn.level == 1 and not turn.is_ordered]
    if fresh:
        plans = {id(turn.one): [each.plan for each in turn.plans] for turn in fresh}
        shares = {plan: len(others) for turn in fresh for plan, others in turn.same.items()}
        told = yield from look_ahead(session, record, [turn.one for turn in fresh], plans, shares, onlooker)
        for turn in fresh:
            turn.plans, turn.is_ordered = _ordered(record, turn, told[id(turn.one)]), True
    singles = [turn.one for turn in turns if turn.level == 1]
    if is_last and singles and not singles[0].search.wanted:
        ordered = [(turn.one, each.plan) for turn, each in _by_turns(turns)]
        if takes_long(session, record, ordered):
            onlooker.planned(forecast_of(record, ordered))


def _carried_out(session: Session, record: Record, turns: Sequence[_Turn], most: int | None) -> Waits[None]:
    """Carry out trials by turns: the first ones, or all that are left."""
    some = _by_turns(turns)[:most]
    taken = {(id(turn), each.plan) for turn, each in some}
    for turn in turns:
        turn.plans = [each for each in turn.plans if (id(turn), each.plan) not in taken]
    tasks = [
        (turn.one, turn.one.task(record, each, keep_states=turn.level < turn.one.search.deepest))
        for turn, each in some
    ]
    yield from carry_out(session, tasks)


def _conclude(record: Record, turns: Sequence[_Turn]) -> None:
    """Add the trials that follow from those that were carried out."""
    for turn in turns:
        known = turn.known + trials_of_equivalents(record, turn.one.trials, turn.same)
        turn.one.coverage.chosen += len(known)
        turn.one.trials += known


def _by_turns(turns: Sequence[_Turn]) -> list[tuple[_Turn, Planned]]:
    """Return the plans of all searches by turns, those first that are known to show a violation."""
    first = [{trial.plan for trial in turn.one.seen.examples} for turn in turns]
    parts: list[tuple[_Turn, Planned]] = []
    for is_first in (True, False):
        parts += by_turns(
            [
                [(turn, each) for each in turn.plans if (each.plan in plans) is is_first]
                for turn, plans in zip(turns, first, strict=True)
            ]
        )
    return parts


def _ordered(record: Record, turn: _Turn, told: Told) -> list[Planned]:
    """Return the plans of single crashes in the order of their trials."""
    search = turn.one.search
    # A budget must not always cut off the same points: runs with other seeds add up.
    choose = search.random(0) if search.until is not None else None
    by_plan = {each.plan: each for each in turn.plans}
    return [by_plan[plan] for plan in in_order(record, list(by_plan), told, choose)]


def _again(session: Session, record: Record, several: Sequence[SearchState]) -> Waits[dict[int, set[Plan]]]:
    """Try the regressions first; return the plans that were carried out, by the id of the search."""
    tasks: list[tuple[SearchState, TrialTask]] = []
    for one in several:
        yield from _find_unreachable(session, record, one)
        kept = [plan for plan in one.search.kept if plan not in one.unreachable]
        keep = one.search.deepest > 1
        tasks += [(one, one.task(record, Planned(plan), keep_states=keep)) for plan in kept]
    tried: dict[int, set[Plan]] = {}
    done: list[Tried] = []
    try:
        yield from carry_out(session, tasks, into=done)
    finally:
        for one, trial in done:
            # A state that no run leaves any more was repaired: nothing is left to test.
            if trial.reached or trial.outcome is Outcome.FAILED:
                one.trials.append(trial)
                one.coverage.chosen += 1
                tried.setdefault(id(one), set()).add(trial.plan)
            else:
                one.gone.append(trial)
        for one in several:
            if one.search.kept_alone:
                one.is_planned = True
                one.coverage.points = one.coverage.chosen
                one.coverage.leave_out("only the kept failures")
    return tried


def _find_unreachable(session: Session, record: Record, one: SearchState) -> Waits[None]:
    """Note the regressions that no disk of the profile leaves."""
    search = one.search
    cut = tuple(
        plan for plan in search.kept if any(FAULTS[point.fault].cuts_power == "model" for point in plan)
    )
    if cut:
        job = submit(
            session.root,
            [FindUnreachable(record.place, cut, search.profile)],
            priority=Priority.RECORDING,
            rank=one.rank,
            until=search.until,
        )
        one.unreachable += (yield from result_of(job)) or []
