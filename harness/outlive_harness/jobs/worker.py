"""A worker: one single-threaded process that claims tasks from a queue and carries them out.

Being single-threaded, a worker may fork. It ends when its standard input does.
"""

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
    """The process that asked for this work is gone, or asked to stop."""


class Bench(Protocol):
    """What a worker's tasks run on."""

    def settle(self) -> None:
        """Put the bench in order after a task."""

    def make_room(self) -> None:
        """Give back the room that the last task took on the disk."""

    def clear(self) -> None:
        """Remove the bench: the worker ends."""


def serve(root: Path, make_bench: Callable[[int], Bench]) -> None:
    """Work until standard input ends.

    Args:
        root: the directory of the queue.
        make_bench: makes what tasks run on, given a descriptor whose hang-up abandons the work at hand.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's to handle
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # a broken lease is no reason to die
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever ignores it gets no exit status: wait(2)
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
    """Carry out a task and publish what came of it."""
    result = _result(claim, bench)
    try:
        claim.finish(result)
    except OSError:  # the disk is full, and the bench takes most of it
        bench.make_room()
        claim.finish(result)


def _result(claim: Claim, bench: Bench) -> object:
    try:
        return claim.task.lost(_WHY_LOST) if claim.is_lost else claim.task.run(bench)
    except AbandonedError:
        raise
    except GivenUpError as error:
        return Broken(str(error), is_given_up=True)
    except Exception:  # noqa: BLE001 - whatever it is, the owner must hear of it
        return Broken(traceback.format_exc())
    finally:
        bench.settle()


def _is_over(control: int) -> bool:
    """Wait for a moment until there may be new work; return whether the owner is gone."""
    ready, _, _ = select.select([control], [], [], _IDLE)
    return bool(ready) and not os.read(control, 4096)
