"""The job queue: jobs laid out as files, so that any number of worker processes share them.

A job is a directory of numbered tasks. A worker claims a task by creating its claim file, and holds a lock on
that file while it works; the kernel drops the lock when the worker dies, so a lost task is recognised and
done again. Results are renamed into place. Nobody needs to know who else is working.
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

#: How many workers may die of one task.
_TRIES = 3
#: Locks on the jobs that this process has submitted; the kernel drops them when it dies.
_owned: dict[Path, int] = {}


class Priority(enum.IntEnum):
    """In which order jobs are served, the first one first; equal ones in the order of their ranks."""

    #: what a verdict that is otherwise there waits for
    CHECK = 0
    GOLDEN_RUN = 1
    #: what trials are planned or told by
    RECORDING = 2
    TRIAL = 3
    #: a violation once more
    CONFIRMATION = 4
    SHRINKING = 5
    #: what nobody asked for, in time that is left
    DEEPER = 6


class Posted(NamedTuple):
    """What a job consists of, as it lies in the queue.

    Attributes:
        tasks: what is to be done.
        until: moment of the wall clock after which no task is begun; None for no limit.
        is_shared: whether other processes may wait for it too, so that it outlives who submitted it.
    """

    tasks: list[Any]
    until: float | None = None
    is_shared: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """One claimed task.

    Attributes:
        job: the directory of its job.
        number: which task of the job it is.
        task: the task itself.
        lock: the lock on its claim file.
        is_lost: whether so many workers died of it that it is given up.
    """

    job: Path
    number: int
    task: Any
    lock: int
    is_lost: bool = False

    def finish(self, result: object) -> None:
        """Publish the result, if anybody waits for it, and let go of the claim."""
        with contextlib.suppress(FileNotFoundError):  # the job was removed
            save(self.job / "results" / str(self.number), result)
        os.close(self.lock)


def save(path: Path, value: object) -> None:
    """Publish a value under a name: readers see it whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(pickle.dumps(value))
    temporary.replace(path)


def load(path: Path) -> Any:  # noqa: ANN401 - what was saved
    """Read what save() published.

    Only files of our own private directory are read; pickle is safe there.
    """
    return pickle.loads(path.read_bytes())  # noqa: S301 - see above


def post(root: Path, name: str, posted: Posted) -> Path:
    """Lay out a job; if several processes post one name, one of them does, and the others join it.

    Args:
        root: the directory of the queue.
        name: the job's; names are served in their order.
        posted: what the job consists of.
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
    except OSError:  # it is there already
        for path in sorted(draft.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        draft.rmdir()
        os.close(lock)
    return job


def done(job: Path) -> set[int]:
    """Return the numbers of the tasks whose results are there."""
    return {int(name) for name in os.listdir(job / "results") if not name.startswith(".")}


def claimed(job: Path) -> int:
    """Return how many tasks of a job a worker has claimed so far."""
    return sum(1 for path in (job / "claims").iterdir() if path.name.isdigit())


def close(job: Path) -> None:
    """Let no further task of a job be begun; its results stay readable."""
    (job / "closed").touch()
    if job in _owned:
        os.close(_owned.pop(job))


def remove(job: Path) -> None:
    """Remove a job that is closed, and that nobody else waits for, with its results."""
    over = job.with_name(f".{job.name}.over")
    with contextlib.suppress(OSError):  # it is not there
        job.rename(over)  # in one step: who looks at it just now finds all of it, or nothing
        shutil.rmtree(over)


def _is_orphan(job: Path) -> bool:
    """Return whether the process that submitted a job has died: nobody waits for the results."""
    with (job / "owner").open("rb") as owner:
        try:
            fcntl.flock(owner, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


class Claimer:
    """Finds tasks in a queue for one worker."""

    def __init__(self, root: Path) -> None:
        self._jobs = root / "jobs"
        self._loaded: dict[str, Posted] = {}
        self._next: dict[str, int] = {}
        self._over: set[str] = set()

    def claim(self) -> Claim | None:
        """Claim a task that nobody has, of the first job that has one; None if there is none."""
        while True:
            try:
                found = next(self._candidates(), None)
            except FileNotFoundError:
                if self._jobs.is_dir():  # an owner removed its job while it was looked at
                    continue
                raise
            if found is None:
                self._forget()
            return found

    def _forget(self) -> None:
        """Forget the jobs that are gone: there may be thousands, one a trial of a test with hypothesis."""
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
            # A worker in a dead one's place begins with what that died of: else each task costs a worker.
            several = chain(self._lost(job, posted.tasks) if is_new else (), self._fresh(job, posted.tasks))
            for number, lock in chain(several, self._lost(job, posted.tasks)):
                yield Claim(job, number, posted.tasks[number], lock, _is_given_up(job, lock))

    def _fresh(self, job: Path, tasks: Sequence[object]) -> Iterator[tuple[int, int]]:
        """Yield tasks that nobody has claimed, each with the lock on its claim."""
        for number in range(self._next.get(job.name, 0), len(tasks)):
            self._next[job.name] = number + 1
            lock = _take(job / "claims" / str(number))
            if lock is not None:
                yield number, lock

    def _lost(self, job: Path, tasks: Sequence[object]) -> Iterator[tuple[int, int]]:
        """Yield tasks whose claimers died before they published a result."""
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
    """Count how often a task is begun, by the size of its claim file; return whether that was too often."""
    before = os.fstat(lock).st_size
    os.ftruncate(lock, before + 1)
    given_up = job / "lost"
    if before == _TRIES:
        given_up.touch()  # the other tasks of the job would cost as many workers
    return given_up.exists()


def _take(claim: Path) -> int | None:
    """Create a claim file and lock it; return None if another process has it."""
    try:
        fd = os.open(claim, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another worker took the new file for one that a dead worker left
        os.close(fd)
        return None
    return fd
