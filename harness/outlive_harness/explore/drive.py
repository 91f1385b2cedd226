"""Explorations driven side by side: each is a generator that yields the jobs that it waits for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import Job, Waits
from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import ScenarioResult

from .observer import Observer

R = TypeVar("R")
Exploration = Waits[ScenarioResult]

#: Seconds after which dead workers are looked for, if none reports anything.
_PATIENCE = 0.05


def finish(session: Session, waits: Waits[R]) -> R:
    """Run one generator to its end, alone, and return what it returns.

    Raises:
        HarnessError: a fault of ours.
        WorkerDiedError: the workers keep dying.
    """
    while True:
        try:
            job = next(waits)
        except StopIteration as end:
            result: R = end.value
            return result
        session.wake()
        while not job.is_over():
            session.replace_dead()
            session.wait(_PATIENCE)


@dataclass(slots=True)
class Drive:
    """Explorations of several scenarios, as many at a time as keep the workers busy.

    Attributes:
        session: the session whose workers do the tasks.
        explorations: the generators, by the scenario's name.
        observer: gets the news.
        results: what the explorations that have ended returned.
    """

    session: Session
    explorations: dict[str, Exploration]
    observer: Observer
    results: dict[str, ScenarioResult] = field(default_factory=dict)
    _active: dict[str, Job[Any]] = field(default_factory=dict)

    def run(self) -> None:
        """Run all explorations to their ends.

        Raises:
            HarnessError: a fault of ours.
            WorkerDiedError: the workers keep dying.
        """
        pending, session = list(self.explorations), self.session
        while pending or self._active:
            while pending and len(self._active) <= session.jobs:
                name = pending.pop(0)
                self.observer.started(name)
                self._step(name)
            for name in list(self._active):
                self._advance(name)
            if self._active and (len(self._active) > session.jobs or not pending):
                session.replace_dead()
                session.wait(_PATIENCE)

    def _advance(self, name: str) -> None:
        """Resume an exploration until the job that it waits for is not over."""
        while name in self._active:
            job = self._active[name]
            is_over = job.is_over()
            if job.label:  # also if nothing is new: a log must not be silent for long
                self._report(name, job)
            if not is_over:
                break
            self._step(name)

    def _step(self, name: str) -> None:
        try:
            self._active[name] = next(self.explorations[name])
            self.session.wake()
        except StopIteration as end:
            self._active.pop(name, None)
            self.results[name] = end.value
            self.observer.finished(end.value)

    def _report(self, name: str, job: Job[Any]) -> None:
        """Report a job's progress, and the trials that violate something."""
        self.observer.progressed(name, job.label, job.seen, job.count)
        for trial in job.news():
            if isinstance(trial, Trial) and trial.findings:
                self.observer.found(name, trial)
