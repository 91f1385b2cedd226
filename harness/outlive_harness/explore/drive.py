"""Explorations driven side by side: each is a generator that yields the jobs that it waits for."""

from __future__ import annotations

from typing import Any

from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import Job, Waits
from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import ScenarioResult

from .observer import Observer

Exploration = Waits[ScenarioResult]


def drive(
    session: Session,
    explorations: dict[str, Exploration],
    results: dict[str, ScenarioResult],
    observer: Observer,
) -> None:
    """Drive explorations to their ends, as many at a time as keep the workers busy.

    Args:
        session: whose workers do the tasks.
        explorations: by the scenario's name.
        results: takes what each returns.
        observer: gets the news.

    Raises:
        HarnessError: a fault of ours.
        WorkerDiedError: the workers keep dying.
    """
    pending = list(explorations)
    active: dict[str, Job[Any]] = {}

    def step(name: str) -> None:
        try:
            active[name] = next(explorations[name])
            session.wake()
        except StopIteration as end:
            active.pop(name, None)
            results[name] = end.value
            observer.finished(end.value)

    while pending or active:
        while pending and len(active) <= session.jobs:
            name = pending.pop(0)
            observer.started(name)
            step(name)
        for name in list(active):
            while name in active:
                job, before = active[name], active[name].seen
                is_over = job.is_over()
                if job.label and job.seen != before:
                    _tell(observer, name, job)
                if not is_over:
                    break
                step(name)
        if active and (len(active) > session.jobs or not pending):
            session.replace_dead()
            session.wait(0.05)


def _tell(observer: Observer, name: str, job: Job[Any]) -> None:
    """Tell how far a job has come, and what it shows."""
    observer.progressed(name, job.label, job.seen, job.count)
    for trial in job.news():
        if isinstance(trial, Trial) and trial.findings:
            observer.found(name, trial)
