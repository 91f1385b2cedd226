"""A session: the shared directory and the worker processes, both of which end with it in any case."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from .forked import Forked, can_fork
from .own_directory import BEGAN, WORKERS, OwnDirectory, remove_stale

#: Boxes are not made on a tmpfs with less room than this, but in the directory of temporary files.
_ROOM = 256 * 1024 * 1024
_PATIENCE = 10.0
#: Workers that may die with no task done in between: one that a pipeline kills is replaced.
_DEATHS = 8
#: Bytes that a worker needs to publish a result.
_RESULT_ROOM = 1 << 18

_Worker = subprocess.Popen[bytes] | Forked


class WorkerDiedError(RuntimeError):
    """A worker process ended before its work was done."""


class NoRoomError(WorkerDiedError):
    """The disk of the boxes is full, or the limit on the size of files is too low; the message says which."""


#: The module that a worker runs, unless another one is named.
WORKER = "outlive_harness.trial.worker"


def default_box_dir() -> Path:
    """Return the directory for boxes: tmpfs if there is one with room, else that of temporary files."""
    shm = Path("/dev/shm")  # noqa: S108 - the directory in it is private
    with contextlib.suppress(OSError):
        if os.access(shm, os.W_OK | os.X_OK) and shutil.disk_usage(shm).free >= _ROOM:
            return shm
    return Path(tempfile.gettempdir())


class Session:
    """The directory and the processes that explorations share. A context manager.

    Args:
        jobs: the number of worker processes; None for one a processor.
        box_dir: the directory in which the session's directory is made.
        root: the directory of another session, which this one's workers join and do not remove.
        forks: whether workers may be forked from this process, as it has run no code but ours.
        worker: the module whose ``main(root, number)`` a worker process runs.
    """

    def __init__(
        self,
        *,
        jobs: int | None = None,
        box_dir: Path | None = None,
        root: Path | None = None,
        forks: bool = False,
        worker: str = WORKER,
    ) -> None:
        self.jobs = processors() if jobs is None else jobs
        #: whether more workers may be started than processors: nobody said how many there should be
        self.can_grow = jobs is None
        self._box_dir = box_dir
        self._owns_root = root is None
        self.root = root or Path()
        self._own: OwnDirectory | None = None
        self._forks, self._worker = forks, worker
        self._workers: list[_Worker] = []
        self._deaths = 0

    @property
    def workers(self) -> int:
        """The number of worker processes."""
        return max(1, len(self._workers))

    @property
    def records(self) -> Path:
        """The directory of golden runs and observations."""
        return self.root / "records"

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Make the directory and start the workers.

        Raises:
            NoRoomError: the limit on the size of files is too low (getrlimit(2), RLIMIT_FSIZE).
        """
        most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if 0 <= most < _RESULT_ROOM:
            raise NoRoomError(f"files may be of {most} bytes at most; raise the limit: ulimit -f unlimited")
        try:
            if self._owns_root:
                self._make_root()
            for _ in range(self.jobs):
                self._workers.append(self._start())
        except BaseException:
            self.close()
            raise

    def _make_root(self) -> None:
        where = self._box_dir or default_box_dir()
        remove_stale(where)
        self._own = OwnDirectory.make(where)
        self.root = self._own.path
        for name in ("jobs", "records", WORKERS):
            (self.root / name).mkdir()
        (self.root / BEGAN).touch()

    def _start(self) -> _Worker:
        number = 0
        while True:  # numbers are shared by all sessions on one root
            with contextlib.suppress(FileExistsError):
                (self.root / WORKERS / str(number)).touch(exist_ok=False)
                break
            number += 1
        errors = (self.root / WORKERS / str(number)).open("wb")
        with errors:
            # The lock belongs to the open file, which the worker keeps until it ends: see _outlast.
            fcntl.flock(errors, fcntl.LOCK_EX)
            fork = self._forks and can_fork()
            worker = (Forked if fork else _executed)(self._worker, self.root, number, errors)
        assert worker.stdin is not None
        os.set_blocking(worker.stdin.fileno(), False)
        return worker

    def wait(self, seconds: float) -> None:
        """Wait until a worker finishes a task or ends, for at most some seconds."""
        streams = [worker.stdout for worker in self._workers if worker.poll() is None and worker.stdout]
        if not streams:
            return  # all of them must be replaced
        ready, _, _ = select.select(streams, [], [], seconds)
        for stream in ready:
            if os.read(stream.fileno(), 4096):
                self._deaths = 0

    def grow(self, count: int) -> None:
        """Start further workers, until there are so many."""
        while len(self._workers) < count:
            self._workers.append(self._start())

    def wake(self) -> None:
        """Wake idle workers: there is new work in the queue."""
        for worker in self._workers:
            with contextlib.suppress(OSError):
                if worker.stdin is not None:
                    os.write(worker.stdin.fileno(), b".")

    def replace_dead(self) -> None:
        """Replace each worker that has ended; the queue gives its task to another one.

        Raises:
            WorkerDiedError: workers keep dying.
        """
        for index, worker in enumerate(self._workers):
            if worker.poll() is not None:
                self._deaths += 1
                if self._deaths > _DEATHS:
                    raise self._death("worker processes keep dying")
                self._close(worker)
                self._workers[index] = self._start()

    def _death(self, what: str) -> WorkerDiedError:
        """Return why workers die; on a full disk they cannot report it themselves."""
        if shutil.disk_usage(self.root).free < _RESULT_ROOM:
            return NoRoomError(f"{self.root} is full; choose a directory with more room by --box-dir")
        return WorkerDiedError(f"{what}:\n{self._last_words()}")

    def _last_words(self) -> str:
        texts = [path.read_text(errors="replace") for path in sorted((self.root / WORKERS).iterdir())]
        return "\n".join(text.strip()[-2000:] for text in texts if text.strip())

    @staticmethod
    def _close(worker: _Worker) -> None:
        for stream in (worker.stdin, worker.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def close(self) -> None:
        """End the workers and remove the directory, if it is this session's own."""
        for worker in self._workers:
            self._close(worker)
        deadline = time.monotonic() + _PATIENCE
        for worker in self._workers:
            try:
                worker.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        self._workers.clear()
        if self._own is not None:
            self._outlast(self._own)
            self._own.remove()  # a trial has reported what cannot be unmounted or removed
            self._own = None

    @staticmethod
    def _outlast(own: OwnDirectory) -> None:
        """Wait for the workers of other sessions that joined and were killed: those end by themselves."""
        deadline = time.monotonic() + _PATIENCE
        while own.has_workers() and time.monotonic() < deadline:
            time.sleep(0.01)


def _executed(module: str, root: Path, number: int, errors: BinaryIO) -> _Worker:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, str(root), str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        start_new_session=True,  # this process handles Ctrl-C
    )


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
