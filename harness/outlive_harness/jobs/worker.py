"""A worker: a process of one thread, so that it may fork, which claims tasks from a queue and runs them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from .queue import Claim, Claimer
from .tasks import Broken, GivenUpError

#: Seconds between two looks for work.
_IDLE = 0.02
_WHY_LOST = (
    "the harness's own process was killed each time that it ran this; either the pipeline, its setup or "
    "its check ends processes outside itself, or the machine has too little memory"
)


class AbandonedError(RuntimeError):
    """The process that submitted this work is gone, or asks to stop."""


class Bench(Protocol):
    """What a worker runs its tasks on."""

    def settle(self) -> None:
        """Tidy up after a task."""

    def make_room(self) -> None:
        """Free the disk space that the last task took."""

    def clear(self) -> None:
        """Remove the bench, as the worker ends."""


def serve(root: Path, make_bench: Callable[[int], Bench]) -> None:
    """Work until standard input ends.

    Args:
        root: the directory of the queue.
        make_bench: makes the bench, given a descriptor whose hang-up abandons the current task.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the owner handles Ctrl-C
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # a broken lease must not end the worker
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it loses exit statuses: wait(2)
    control, report = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    bench, claimer = make_bench(control), Claimer(root)
    try:
        while True:
            claim = claimer.claim()
            if claim is not None:
                _finish(claim, bench)
                os.write(report, b".")
            elif _is_over(control):
                break
    except (AbandonedError, BrokenPipeError):
        pass
    finally:
        with contextlib.suppress(OSError):
            bench.clear()


def _finish(claim: Claim, bench: Bench) -> None:
    """Run a task and publish its result."""
    result = _result(claim, bench)
    try:
        claim.finish(result)
    except OSError:  # the disk is full, mostly of this bench
        bench.make_room()
        claim.finish(result)


def _result(claim: Claim, bench: Bench) -> object:
    try:
        return claim.task.lost(_WHY_LOST) if claim.is_lost else claim.task.run(bench)
    except AbandonedError:
        raise
    except GivenUpError as error:
        return Broken(str(error), is_given_up=True)
    except Exception:  # noqa: BLE001 - the owner must learn of any error
        return Broken(traceback.format_exc())
    finally:
        bench.settle()


def _is_over(control: int) -> bool:
    """Wait a moment for new work; return whether the owner is gone."""
    ready, _, _ = select.select([control], [], [], _IDLE)
    return bool(ready) and not os.read(control, 4096)
