"""Tasks, and the jobs that whoever submits them waits for: the one place where work is handed out."""

from __future__ import annotations

import contextlib
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
#: What all jobs together wait for: see Session and the engine's loop.
Waits = Generator["Job[Any]", None, R]

#: Seconds past a job's end in which a task that was begun before may still be claimed.
_LATE = 0.2
#: Seconds a result between two looks at a job: listing thousands for each that arrives costs more than
# trials.
_PATIENCE = 1e-4
_numbers = itertools.count()


class Task(Generic[R]):
    """Something that a worker can do.

    A task is plain data that pickle can carry. What it runs on, the bench, is the worker's.
    """

    def run(self, bench: Any) -> R:  # noqa: ANN401 - what the worker's entry point made
        """Do it, and return what came of it."""
        raise NotImplementedError

    def lost(self, why: str) -> R:
        """Return what stands for the result, where each worker that ran the task was killed.

        Raises:
            GivenUpError: nothing can; the job raises it.
        """
        raise GivenUpError(why)


class HarnessError(RuntimeError):
    """A fault of ours; the message is the traceback."""


class GivenUpError(HarnessError):
    """Workers were killed by a task, one after the other; the message says why that may be."""


@dataclass(frozen=True, slots=True)
class Broken:
    """What stands for a result if a task raised: the traceback, and whether the task was given up."""

    text: str
    is_given_up: bool = False


@dataclass(slots=True)
class Job(Generic[R]):
    """Tasks that were submitted together.

    Attributes:
        place: its directory in the queue.
        count: how many tasks it has.
        label: how progress is reported; "" for not at all.
        until: moment of the wall clock after which no task is begun.
        is_shared: whether other processes may wait for it, too.
        keep: is called with each result as it arrives.
        results: those that have arrived, by the number of their task.
    """

    place: Path
    count: int
    label: str = ""
    until: float | None = None
    is_shared: bool = False
    keep: Callable[[R], None] | None = None
    results: dict[int, R | Broken] = field(default_factory=dict)
    _fresh: list[R | Broken] = field(default_factory=list)
    _next_look: float = 0.0

    @property
    def seen(self) -> int:
        """How many results have arrived."""
        return len(self.results)

    def is_over(self) -> bool:
        """Look for results; return whether no more will come."""
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + self.count * _PATIENCE
        self._look()
        if self.seen == self.count:
            return True
        if self.until is None or time.time() < self.until + _LATE:
            return False
        return queue.claimed(self.place) == self.seen

    def news(self) -> list[R | Broken]:
        """Return the results that arrived since the last call."""
        news, self._fresh = self._fresh, []
        return news

    def collect(self) -> list[R]:
        """Close the job and return the results that are there, in the order of the tasks.

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
            if self.keep is not None and not isinstance(result, Broken):
                self.keep(result)


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
    """Put tasks into a queue.

    Args:
        root: the directory of the queue.
        tasks: what is to be done.
        priority: which jobs come first.
        rank: the order of jobs of one priority; equal ones are served as they were submitted.
        key: a name that other processes submit the same tasks under; they share the results.
        until: moment of the wall clock after which no task is begun; None for no limit.
        label: how progress is reported; "" for not at all.
        keep: is called with each result as it arrives.
    """
    name = key or f"{time.time_ns():020}-{os.getpid()}-{next(_numbers)}"
    posted = Posted(list(tasks), until, is_shared=bool(key))
    place = queue.post(root, _job_name(priority, rank, name), posted)
    return Job(place, len(tasks), label, until, bool(key), keep)


def _job_name(priority: Priority, rank: int, name: str) -> str:
    return f"{priority:02}-{rank:020}-{name}"


def forget(root: Path, *, priority: Priority, key: str) -> None:
    """Remove a job that processes shared under a key, with its results."""
    queue.remove(root / "jobs" / _job_name(priority, 0, key))


def results_of(job: Job[R]) -> Waits[list[R]]:
    """Wait for a job; return its results: fewer than it has tasks where time was up.

    Raises:
        HarnessError: as Job.collect().
    """
    yield job
    return job.collect()


def result_of(job: Job[R]) -> Waits[R | None]:
    """Wait for a job of one task; return its result, or None if time was up before it was begun.

    Raises:
        HarnessError: as Job.collect().
    """
    results = yield from results_of(job)
    return results[0] if results else None


def gather(job: Job[R], into: list[R]) -> Waits[None]:
    """Wait for a job, and add its results to a list, also where the wait is interrupted.

    Raises:
        HarnessError: as Job.collect().
    """
    try:
        yield job
    finally:
        into += job.collect()


def abandon(job: Job[Any]) -> None:
    """Close a job whose results nobody needs."""
    with contextlib.suppress(HarnessError, OSError):
        job.collect()
