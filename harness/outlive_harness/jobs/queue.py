"""The job queue: jobs as files, so that any number of worker processes share them.

A job is a directory of numbered tasks. A worker claims a task by creating its claim file, and holds a lock on
that file while it works; the kernel drops the lock when the worker dies, so a lost task is recognised and
run again. Results are renamed into place. No worker needs to know of another.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import os
import pickle
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

#: How many workers one task may kill.
_TRIES = 3
#: Locks on the jobs that this process has submitted; the kernel drops them when it dies.
_owned: dict[Path, int] = {}


class Priority(enum.IntEnum):
    """The order of jobs, lowest first; jobs of one priority are served in the order of their ranks."""

    #: the last thing that a verdict waits for
    CHECK = 0
    GOLDEN_RUN = 1
    #: what trials are planned from
    RECORDING = 2
    TRIAL = 3
    #: a repeated violation
    CONFIRMATION = 4
    SHRINKING = 5
    #: plans beyond those asked for, while time is left
    DEEPER = 6


class Posted(NamedTuple):
    """A job's content in the queue.

    Attributes:
        tasks: the tasks.
        until: wall-clock time after which no task starts; None for no limit.
        is_shared: whether other processes may wait for it too, so that it outlives its submitter.
    """

    tasks: list[Any]
    until: float | None = None
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed task.

    Attributes:
        job: the directory of its job.
        number: its number in the job.
        task: the task itself.
        lock: a descriptor that holds the lock on its claim file.
        is_lost: whether it is given up, as it has killed too many workers.
    """

    job: Path
    number: int
    task: Any
    lock: int
    is_lost: bool = False

    def finish(self, result: object) -> None:
        """Publish the result, if anyone waits for it, and release the claim."""
        with contextlib.suppress(FileNotFoundError):  # the job was removed
            save(self.job / "results" / str(self.number), result)
        os.close(self.lock)


def save(path: Path, value: object) -> None:
    """Publish a value in a file, which readers see whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(pickle.dumps(value))
    temporary.replace(path)


def load(path: Path) -> Any:  # noqa: ANN401 - any value
    """Return the value that save() published.

    Only files in our own private directory are read, so pickle is safe.
    """
    return pickle.loads(path.read_bytes())  # noqa: S301 - see above


def post(root: Path, name: str, posted: Posted) -> Path:
    """Add a job, or join the job of that name if another process has added it.

    Args:
        root: the directory of the queue.
        name: the job's name; jobs are served in the order of their names.
        posted: the job's content.
    """
    job = root / "jobs" / name
    draft = root / "jobs" / f".{name}.{os.getpid()}"
    (draft / "claims").mkdir(parents=True)
    (draft / "results").mkdir()
    save(draft / "posted", posted)
    lock = os.open(draft / "owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        draft.rename(job)
        _owned[job] = lock
    except OSError:  # the job exists already
        shutil.rmtree(draft)
        os.close(lock)
    return job


def done(job: Path) -> set[int]:
    """Return the numbers of the tasks that have results."""
    return {int(name) for name in os.listdir(job / "results") if not name.startswith(".")}


def at_work(job: Path) -> bool:
    """Return whether a worker has claimed a task of a job and lives, but has not published the result."""
    unfinished = {name for name in os.listdir(job / "claims") if name.isdigit()} - set(
        os.listdir(job / "results")
    )
    return any(_is_locked(job / "claims" / name) for name in unfinished)


def _is_locked(path: Path) -> bool:
    """Return whether another process has a lock on a file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def stop(job: Path) -> None:
    """Stop a job: no further task starts, and those at work are finished."""
    (job / "closed").touch()


def close(job: Path) -> None:
    """End a job: no further task starts, and its results stay readable."""
    stop(job)
    if job in _owned:
        os.close(_owned.pop(job))


def remove(job: Path) -> None:
    """Remove a closed job that no other process waits for, with its results."""
    over = job.with_name(f".{job.name}.over")
    with contextlib.suppress(OSError):  # it does not exist
        job.rename(over)  # atomic: other processes find the whole job, or none
        shutil.rmtree(over)


def _is_orphan(job: Path) -> bool:
    """Return whether the process that submitted a job has died, so that nobody waits for the results."""
    return not _is_locked(job / "owner")


class Claimer:
    """Finds tasks in a queue for one worker."""

    def __init__(self, root: Path) -> None:
        self._jobs = root / "jobs"
        self._loaded: dict[str, Posted] = {}
        self._next: dict[str, int] = {}
        self._over: set[str] = set()

    def claim(self) -> Claim | None:
        """Claim a free task of the first job that has one; return None if no job has."""
        while True:
            try:
                found = next(self._candidates(), None)
            except FileNotFoundError:
                if self._jobs.is_dir():  # an owner removed its job in the meantime
                    continue
                raise
            if found is None:
                self._forget()
            return found

    def _forget(self) -> None:
        """Forget removed jobs: a test with hypothesis may submit thousands."""
        there = set(os.listdir(self._jobs))
        for known in (self._loaded, self._next):
            for name in known.keys() - there:
                del known[name]
        self._over &= there

    def _candidates(self) -> Iterator[Claim]:
        for name in sorted(os.listdir(self._jobs)):
            job = self._jobs / name
            if name.startswith(".") or name in self._over:
                continue
            if (job / "closed").exists():
                self._over.add(name)
                self._loaded.pop(name, None)
                continue
            is_new = name not in self._loaded
            if is_new:
                self._loaded[name] = load(job / "posted")
            posted = self._loaded[name]
            if posted.until is not None and time.time() > posted.until:
                continue
            if not posted.is_shared and _is_orphan(job):
                continue
            # A new worker begins with the task that killed the one before: else each task costs a worker.
            several = chain(self._lost(job, posted.tasks) if is_new else (), self._fresh(job, posted.tasks))
            for number, lock in chain(several, self._lost(job, posted.tasks)):
                yield Claim(job, number, posted.tasks[number], lock, _is_given_up(job, lock))

    def _fresh(self, job: Path, tasks: Sequence[object]) -> Iterator[tuple[int, int]]:
        """Yield unclaimed tasks, each with the lock on its claim."""
        for number in range(self._next.get(job.name, 0), len(tasks)):
            self._next[job.name] = number + 1
            lock = _take(job / "claims" / str(number))
            if lock is not None:
                yield number, lock

    def _lost(self, job: Path, tasks: Sequence[object]) -> Iterator[tuple[int, int]]:
        """Yield tasks whose workers died before they published a result."""
        for number in sorted(set(range(len(tasks))) - done(job)):
            try:
                fd = os.open(job / "claims" / str(number), os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(fd)
                continue
            if (job / "results" / str(number)).exists():
                os.close(fd)
                continue
            yield number, fd


def _is_given_up(job: Path, lock: int) -> bool:
    """Count the starts of a task in the size of its claim file; return whether there were too many."""
    before = os.fstat(lock).st_size
    os.ftruncate(lock, before + 1)
    given_up = job / "lost"
    if before == _TRIES:
        given_up.touch()  # each other task of the job would cost as many workers
    return given_up.exists()


def _take(claim: Path) -> int | None:
    """Create and lock a claim file; return None if another process has it."""
    try:
        fd = os.open(claim, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another worker took the new file for a dead worker's
        os.close(fd)
        return None
    return fd
