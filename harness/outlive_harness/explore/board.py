"""The board: work laid out as files, so that any number of worker processes share it.

A job is a directory of numbered units. A worker claims a unit by creating its claim file, and holds
a lock on that file while it works; the kernel drops the lock when the worker dies, so a lost unit is
recognised and done again. Results are renamed into place. Nobody needs to know who else is working:
one command with ``-j``, or the worker of every pytest-xdist process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

#: The kinds of the jobs that several may wait for.
RECORD, AGAIN = "record", "again"
#: The kind of those that find out the crash points of a recorded run.
SURVEY = "survey"
#: The kind of those whose payload says itself what is to be done.
TASK = "task"
#: The kind of those that run a command to see what it does, with nothing to compare it with.
OBSERVE = "observe"
#: The kind of a unit that several workers have died of: nobody tries it any more.
LOST = "lost"
#: How many may die of one.
_TRIES = 3
#: Locks on the jobs that this process has laid out; the kernel drops them when it dies.
_owned: dict[Path, int] = {}


@dataclass(frozen=True, slots=True)
class Unit:
    """One claimed piece of work."""

    job: Path
    number: int
    kind: str
    payload: Any
    lock: int

    def finish(self, result: object) -> None:
        """Publish the result, if anybody waits for it, and let go of the claim."""
        with contextlib.suppress(FileNotFoundError):  # the job was taken away
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


def post(root: Path, name: str, kind: str, payloads: Sequence[object], *, until: float | None = None) -> Path:
    """Lay out a job; of several who post the same name, one does and the others join it.

    Args:
        root: the board's directory.
        name: the job's.
        kind: what the worker is to do with each payload.
        payloads: one a unit.
        until: moment of the wall clock after which no unit is begun.
    """
    job = root / "jobs" / name
    draft = root / "jobs" / f".{name}.{os.getpid()}"
    (draft / "claims").mkdir(parents=True)
    (draft / "results").mkdir()
    save(draft / "units", (kind, list(payloads), until))
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
    """Return the numbers of the units whose results are there."""
    return {int(name) for name in os.listdir(job / "results") if not name.startswith(".")}


def close(job: Path) -> None:
    """Take a finished job from the board; its results stay readable."""
    (job / "closed").touch()
    if job in _owned:
        os.close(_owned.pop(job))


def remove(job: Path) -> None:
    """Take away a job that is closed, and that nobody else waits for, with its results."""
    over = job.with_name(f".{job.name}.over")
    with contextlib.suppress(OSError):  # it is not there
        job.rename(over)  # in one step: who looks at it just now finds all of it, or nothing
        shutil.rmtree(over)


def _is_orphan(job: Path) -> bool:
    """Tell whether the process that laid out a job has died: nobody waits for the results."""
    with (job / "owner").open("rb") as owner:
        try:
            fcntl.flock(owner, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


class Claimer:
    """Finds work on a board for one worker."""

    def __init__(self, root: Path) -> None:
        self._jobs = root / "jobs"
        self._loaded: dict[str, tuple[str, list[Any], float | None]] = {}
        self._next: dict[str, int] = {}
        self._over: set[str] = set()

    def claim(self) -> Unit | None:
        """Claim any unit that nobody has, the oldest job first; None if there is none."""
        while True:
            try:
                unit = next(self._candidates(), None)
            except FileNotFoundError:
                if self._jobs.is_dir():  # an owner took its job away while it was looked at
                    continue
                raise
            if unit is None:
                self._forget()
            return unit

    def _forget(self) -> None:
        """Forget the jobs that are gone: there may be thousands, one a trial of a test with hypothesis."""
        there = set(os.listdir(self._jobs))
        for known in (self._loaded, self._next):
            for name in known.keys() - there:
                del known[name]
        self._over &= there

    def _candidates(self) -> Iterator[Unit]:
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
                self._loaded[name] = load(job / "units")
            kind, payloads, until = self._loaded[name]
            if until is not None and time.time() > until:
                continue
            if kind not in (RECORD, AGAIN) and _is_orphan(job):  # those are everybody's
                continue
            # A worker in a dead one's place begins with what that died of: else each unit costs a worker.
            several = chain(
                self._lost(job, len(payloads)) if is_new else (),
                self._fresh(job, len(payloads)),
                self._lost(job, len(payloads)),
            )
            for number, lock in several:
                yield _begun(Unit(job, number, kind, payloads[number], lock))

    def _fresh(self, job: Path, count: int) -> Iterator[tuple[int, int]]:
        """Yield units that nobody has claimed, each with the lock on its claim."""
        for number in range(self._next.get(job.name, 0), count):
            self._next[job.name] = number + 1
            lock = _take(job / "claims" / str(number))
            if lock is not None:
                yield number, lock

    def _lost(self, job: Path, count: int) -> Iterator[tuple[int, int]]:
        """Yield units whose claimers died before they published a result."""
        for number in sorted(set(range(count)) - done(job)):
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


def _begun(unit: Unit) -> Unit:
    """Count how often a unit is begun, by the size of its claim file; give it up where that was too often."""
    before = os.fstat(unit.lock).st_size
    os.ftruncate(unit.lock, before + 1)
    given_up = unit.job / "lost"
    if before == _TRIES:
        given_up.touch()  # what else there is to do of the job would cost as many workers
    return replace(unit, kind=LOST, payload=(unit.kind, unit.payload)) if given_up.exists() else unit


def _take(claim: Path) -> int | None:
    """Create a claim file and lock it; None if another has."""
    try:
        fd = os.open(claim, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # somebody took our new file for one that a dead worker left
        os.close(fd)
        return None
    return fd


def first_to(directory: Path, name: str, owner: str) -> bool:
    """Tell whether *name*, in a directory that all workers share, is this owner's to work on.

    It is the first one's who asks; who does a dead worker's unit again asks under the same name.
    """
    draft = directory / f".{os.getpid()}"
    draft.write_text(owner)
    try:
        os.link(draft, directory / name)
    except FileExistsError:
        return (directory / name).read_text() == owner
    finally:
        draft.unlink()
    return True


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Keep other processes out that ask for the same directory: who comes later waits."""
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
