"""A worker's bench: one box, and what was loaded for earlier tasks."""

from __future__ import annotations

from pathlib import Path

from outlive_harness.golden.record import Record, record_file
from outlive_harness.jobs.queue import load
from outlive_harness.world.runner import Runner

from .recordings import Recordings


class Bench:
    """What the tasks of one worker run on.

    Args:
        place: the worker's private directory.
        control: a descriptor whose hang-up abandons the current run.
    """

    def __init__(self, place: Path, control: int | None = None) -> None:
        self.runner = Runner(place, control=control)
        self.recordings = Recordings(self.runner)
        self._record: Record | None = None

    def record(self, place: Path) -> Record:
        """Return a golden run's record; the last one is kept, as consecutive tasks mostly need the same."""
        if self._record is None or self._record.place != place:
            self._record = load(record_file(place))
        record = self._record
        assert record is not None
        self.runner.box.unchanged.shared.choose(record.template, record.shared)
        return record

    def settle(self) -> None:
        """Remove the temporary files that killed runs left outside the box."""
        self.runner.remove_left()

    def make_room(self) -> None:
        """Free the room that the box takes."""
        self.runner.box.empty()

    def clear(self) -> None:
        """End the zygotes, and remove the worker's directory."""
        self.runner.clear()
