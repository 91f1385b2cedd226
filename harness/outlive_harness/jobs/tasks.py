"""Tasks, and the jobs that consist of them: the one place where work is submitted and waited for."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from . import queue
from .queue import Posted, Priority

R = TypeVar("R")
#: A generator that yields the jobs that it waits for; explore.drive resumes it when they are over.
Waits = Generator["Job[Any]", None, R]

#: Seconds after a job's end within which a claim may still appear.
_LATE = 0.2
#: Seconds, for each task of a job, between two looks at it: listing thousands of results costs CPU.
_PATIENCE = 1e-4
_numbers = itertools.count()


class Task(Generic[R]):
    """A unit of work: plain data that pickle can carry, and that runs on a worker's bench."""

    def run(self, bench: Any) -> R:  # noqa: ANN401 - the worker's entry point makes it
        """Run the task and return its result."""
        raise NotImplementedError

    def lost(self, why: str) -> R:
        """Return a result for a task that killed each worker that ran it.

        Raises:
            GivenUpError: there is no such result; Job.collect() raises the error again.
        """
        raise GivenUpError(why)


class HarnessError(RuntimeError):
    """A fault of ours; the message is the traceback."""


class GivenUpError(HarnessError):
    """A task killed one worker after the other; the message gives likely reasons."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Takes the place of a result if a task raised: the traceback, and whether the task was given up."""

    text: str
    is_given_up: bool = False


@dataclass(slots=True)
class Job(Generic[R]):
    """Tasks that were submitted together.

    Attributes:
        place: its directory in the queue.
        count: the number of its tasks.
        label: its name in progress reports; "" for no reports.
        until: wall-clock time after which no task starts; None for no limit.
        is_shared: whether other processes may wait for it too.
        keep: called with each result as it arrives.
        is_enough: called with each result as it arrives; once it returns True, no further task starts.
        results: the results so far, by the numbers of their tasks.
    """

    place: Path
    count: int
    label: str = ""
    until: float | None = None
    is_shared: bool = False
    keep: Callable[[R], None] | None = None
    is_enough: Callable[[R], bool] | None = None
    results: dict[int, R | Broken] = field(default_factory=dict)
    _fresh: list[R | Broken] = field(default_factory=list)
    _next_look: float = 0.0
    _needed: int | None = None
    _stopped: float | None = None

    @property
    def seen(self) -> int:
        """The number of results so far."""
        return len(self.results)

    def is_over(self) -> bool:
        """Look for new results; return whether all have arrived that will."""
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + self.count * _PATIENCE
        self._look()
        if self.seen == self.count:
            return True
        # Tasks are claimed in their order, so those before one with a result are done, or at work.
        if self._needed is not None and self.results.keys() >= set(range(self._needed)):
            return True
        ends = [end for end in (self.until, self._stopped) if end is not None]
        if not ends or time.time() < min(ends) + _LATE:
            return False
        return not queue.at_work(self.place)

    def news(self) -> list[R | Broken]:
        """Return the results that arrived since the last call."""
        news, self._fresh = self._fresh, []
        return news

    def collect(self) -> list[R]:
        """Close the job and return its results so far, in the order of the tasks.

        Raises:
            GivenUpError: a task was given up.
            HarnessError: a task raised.
        """
        queue.close(self.place)
        self._look()
        results: list[R] = []
        for _, result in sorted(self.results.items()):
            if isinstance(result, Broken):
                raise (GivenUpError if result.is_given_up else HarnessError)(result.text)
            results.append(result)
        if not self.is_shared:
            queue.remove(self.place)
        return results

    def _look(self) -> None:
        for number in sorted(queue.done(self.place) - self.results.keys()):
            self.results[number] = result = queue.load(self.place / "results" / str(number))
            self._fresh.append(result)
            if isinstance(result, Broken):
                continue
            if self.keep is not None:
                self.keep(result)
            if self.is_enough is not None and self.is_enough(result):
                self.is_enough, self._needed, self._stopped = None, max(self.results), time.time()
                queue.stop(self.place)


def submit(
    root: Path,
    tasks: Sequence[Task[R]],
    *,
    priority: Priority,
    rank: int = 0,
    key: str = "",
    until: float | None = None,
    label: str = "",
    keep: Callable[[R], None] | None = None,
) -> Job[R]:
    """Add tasks to a queue.

    Args:
        root: the directory of the queue.
        tasks: the tasks.
        priority: the job's place in the queue.
        rank: the order of jobs of one priority; equal ones are served as they were submitted.
        key: a name under which several processes submit the same tasks and share the results.
        until: wall-clock time after which no task starts; None for no limit.
        label: the job's name in progress reports; "" for no reports.
        keep: called with each result as it arrives.
    """
    name = key or f"{time.time_ns():020}-{os.getpid()}-{next(_numbers)}"
    posted = Posted(list(tasks), until, is_shared=bool(key))
    place = queue.post(root, _job_name(priority, rank, name), posted)
    return Job(place, len(tasks), label, until, bool(key), keep)


def _job_name(priority: Priority, rank: int, name: str) -> str:
    return f"{priority:02}-{rank:020}-{name}"


def forget(root: Path, *, priority: Priority, key: str) -> None:
    """Remove a job that processes share under a key, with its results."""
    queue.remove(root / "jobs" / _job_name(priority, 0, key))


def results_of(job: Job[R]) -> Waits[list[R]]:
    """Wait for a job and return its results: fewer than its tasks if time was up.

    Raises:
        HarnessError: as Job.collect().
    """
    yield job
    return job.collect()


def result_of(job: Job[R]) -> Waits[R | None]:
    """Wait for a job of one task and return its result, or None if time was up before the task started.

    Raises:
        HarnessError: as Job.collect().
    """
    results = yield from results_of(job)
    return results[0] if results else None


def gather(job: Job[R], into: list[R]) -> Waits[None]:
    """Wait for a job and add its results to a list, in the order of the tasks, even if interrupted.

    Raises:
        HarnessError: as Job.collect().
    """
    try:
        yield job
    finally:
        into += job.collect()
