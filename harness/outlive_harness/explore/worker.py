"""A worker: one single-threaded process that takes units from the board and carries them out.

``python -m outlive_harness.explore.worker ROOT NUMBER``; it ends when its standard input does.
Being single-threaded it may fork; being the subreaper of what it starts, it knows when a pipeline's
tree is gone.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from outlive_harness.intercept.supervisor import AbandonedError
from outlive_harness.launch.reap import adopt_orphans

from .board import AGAIN, LOST, OBSERVE, RECORD, SURVEY, TASK, Claimer, Unit, load, save
from .golden import Record, record
from .observe import observe
from .results import Broken, Lost, Trial
from .runner import BoxError, Runner
from .subject import Subject
from .survey import survey
from .tapes import Tapes
from .trial import Order, carry_out

_IDLE = 0.02


class Worker:
    """Carries out units; keeps the last record, since most units in a row are about one."""

    def __init__(self, root: Path, number: int, control: int) -> None:
        self.runner = Runner(root / f"w{number:03d}", control=control)
        self._tapes = Tapes(self.runner)
        self._record: Record | None = None

    def carry_out(self, unit: Unit) -> object:
        """Return the unit's result, or what broke."""
        try:
            if unit.kind == RECORD:
                return self._recorded(*unit.payload)
            if unit.kind == OBSERVE:
                return observe(self.runner, *unit.payload)
            record = self._load(unit.payload.place)
            if unit.kind in (TASK, AGAIN):
                return unit.payload.carry_out(self._tapes, record)
            if unit.kind == SURVEY:
                return survey(self._tapes, record, unit.payload)
            return carry_out(self._tapes, record, unit.payload)
        except AbandonedError:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the owner must hear of it
            return Broken(traceback.format_exc())
        finally:
            self.runner.remove_left()

    def finish(self, unit: Unit) -> None:
        """Carry out a unit and publish what came of it."""
        result = _given_up(*unit.payload) if unit.kind == LOST else self.carry_out(unit)
        try:
            unit.finish(result)
        except OSError:  # the disk is full, and the box takes most of it
            self.runner.empty()
            unit.finish(result)

    def _recorded(self, subject: Subject, place: Path, zygote: bool, memory: int) -> Record:  # noqa: FBT001 - a payload
        place.mkdir(parents=True, exist_ok=True)
        made = record(self.runner, subject, place, by_exec=not zygote)
        if not (made.reason or made.refused):
            self.runner.choose_start(subject, made.preload, made.check_preload)
            try:
                made.reason = self._tapes.unexplained(made, memory=memory)
            except (BoxError, OSError) as error:
                made.reason = str(error)
                self.runner.empty()
        save(place / "record", made)
        return made

    def _load(self, place: Path) -> Record:
        if self._record is None or self._record.place != place:
            self._record = load(place / "record")
        assert self._record is not None
        return self._record


def _given_up(kind: str, payload: Any) -> object:  # noqa: ANN401 - as it was laid out
    """Return what stands for the result of a unit that workers died of."""
    why = (
        "the harness's own process was killed each time that it ran this; either the pipeline, its setup or "
        "its check ends processes outside itself, or the machine has too little memory"
    )
    if kind == RECORD:
        subject, place, *_ = payload
        made = Record(subject, place, reason=why)
        place.mkdir(parents=True, exist_ok=True)
        save(place / "record", made)
        return made
    return Trial(payload.plan, trouble=why) if isinstance(payload, Order) else Lost(why)


def serve(root: Path, number: int) -> None:
    """Work until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's to handle
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # a broken lease is no reason to die
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # who ignores it learns of no exit status: wait(2)
    control, report = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    adopt_orphans()
    worker, claimer = Worker(root, number, control), Claimer(root)
    try:
        while True:
            unit = claimer.claim()
            if unit is not None:
                worker.finish(unit)
                os.write(report, b".")
            elif _is_over(control):
                break
    except (AbandonedError, BrokenPipeError):
        pass
    finally:
        with contextlib.suppress(OSError):
            worker.runner.clear()


def _is_over(control: int) -> bool:
    """Rest until there may be new work; say whether the owner is gone."""
    ready, _, _ = select.select([control], [], [], _IDLE)
    return bool(ready) and not os.read(control, 4096)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
