"""Trials carried out: all of them, until enough violations are found, or until the time is up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import Waits, submit
from outlive_harness.results.trials import Outcome, Trial
from outlive_harness.trial.trial import TrialTask

from .fault_search import SearchState

#: A trial, and the search that it belongs to.
Tried = tuple[SearchState, Trial]


def is_enough(several: Sequence[SearchState]) -> bool:
    """Return whether searches have found all that they look for, so that nothing can change the verdict."""
    trials = [trial for one in several for trial in one.trials]
    return bool(several) and several[0].search.has_enough(trials)


def carry_out(
    session: Session, tasks: Sequence[tuple[SearchState, TrialTask]], *, into: list[Tried] | None = None
) -> Waits[None]:
    """Carry out trials in their order, and add them to their searches.

    If a few are enough, the trials behind those are left out, even if they were carried out: so what is found
    depends on the order of the points, and not on the number or the speed of the workers.

    Args:
        session: the session whose workers run them.
        tasks: the trials, each with its search.
        into: takes the trials instead of their searches; then all are carried out, and none is counted.
    """
    found: dict[int, Tried] = {}
    for number, (one, task) in enumerate(tasks):
        if into is None and task.plan in one.known:
            found[number] = one, one.known[task.plan]
    searches = list({id(one): one for one, _ in tasks}.values())
    try:
        for until in _ends(searches):
            yield from _some(session, tasks, found, until, stops=into is None)
            if any(trial.findings for trial in _so_far(searches, found)):
                break
    finally:
        tried = [found[number] for number in sorted(found)]
        if into is not None:
            into += tried
        else:
            _add(searches, tasks, _enough(searches, tried))


def _ends(searches: Sequence[SearchState]) -> list[float | None]:
    """Return the times until which trials start; after the first of two only if nothing was found."""
    if not searches:
        return []
    search = searches[0].search
    return [search.until] if search.pause is None else [search.pause, search.until]


def _some(
    session: Session,
    tasks: Sequence[tuple[SearchState, TrialTask]],
    found: dict[int, Tried],
    until: float | None,
    *,
    stops: bool,
) -> Waits[None]:
    """Carry out the trials that were not found yet, until some time."""
    numbers = [number for number in range(len(tasks)) if number not in found]
    if not numbers:
        return
    owners = {tasks[number][1].plan: tasks[number][0] for number in numbers}
    searches = list({id(one): one for one, _ in tasks}.values())
    seen = _so_far(searches, found)

    def keep(trial: Trial) -> None:
        owners[trial.plan].keep(trial)

    def is_over(trial: Trial) -> bool:
        if not trial.findings:
            return False
        seen.append(trial)
        return searches[0].search.has_enough(seen)

    job = submit(
        session.root,
        [tasks[number][1] for number in numbers],
        priority=Priority.TRIAL,
        rank=searches[0].rank,
        until=until,
        label=", ".join(dict.fromkeys(one.search.fault.name for one in searches)),
        keep=keep,
    )
    job.is_enough = is_over if stops else None
    try:
        yield job
    finally:
        job.collect()
        for number, trial in job.results.items():
            found[numbers[number]] = tasks[numbers[number]][0], cast(Trial, trial)


def _so_far(searches: Sequence[SearchState], found: Mapping[int, Tried]) -> list[Trial]:
    """Return the trials of earlier levels, and those of this one that were found."""
    return [*(trial for one in searches for trial in one.trials), *(trial for _, trial in found.values())]


def _enough(searches: Sequence[SearchState], tried: Sequence[Tried]) -> list[Tried]:
    """Return the first trials that are enough; all of them if they are not.

    Of several trials that reach one state, the one that comes first takes its judgement.
    """
    if not searches:
        return []
    before = [trial for one in searches for trial in one.trials]
    if not searches[0].search.has_enough([*before, *(trial for _, trial in tried)]):
        return list(tried)
    judged = {(id(one), trial.state): trial for one, trial in tried if trial.judged}
    taken: list[Tried] = []
    kinds = list(before)
    for one, trial in tried:
        judge = judged.pop((id(one), trial.state), None) if trial.reached else None
        if judge is None:
            repeated = replace(trial, outcome=Outcome.REPEATED, findings=[], warnings=[])
            taken.append((one, repeated if trial.judged else trial))
            continue
        taken.append((one, trial if judge is trial else _judged_by(trial, judge)))
        kinds += [judge] if judge.findings else []
        if judge.findings and searches[0].search.has_enough(kinds):
            return taken
    return taken


def _judged_by(trial: Trial, judge: Trial) -> Trial:
    """Return a trial that reached a state which another one judged, as if it had judged that itself."""
    own = {name: getattr(trial, name) for name in ("plan", "op", "path", "mark", "lost", "stayed", "story")}
    return replace(judge, **own, rests_on=judge.rests_on if judge.profile else trial.rests_on)


def _add(
    searches: Sequence[SearchState], tasks: Sequence[tuple[SearchState, TrialTask]], tried: Sequence[Tried]
) -> None:
    """Add trials to their searches; if they are enough, the others were not chosen."""
    for one, trial in tried:
        one.trials.append(trial)
    enough = is_enough(searches)
    counted: dict[int, int] = {id(one): 0 for one in searches}
    for one, _ in tried if enough else tasks:
        counted[id(one)] += 1
    for one in searches:
        coverage = one.coverage
        coverage.chosen += counted[id(one)]
        if enough and coverage.chosen < coverage.points:
            coverage.notes.clear()
            coverage.leave_out(f"{coverage.chosen} of {coverage.points} points were enough")
