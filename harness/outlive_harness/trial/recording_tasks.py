"""A task that checks plans against recordings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from outlive_harness.jobs.tasks import Task
from outlive_harness.results.plan import Plan
from outlive_harness.world.box import BoxError

from .bench import Bench
from .recordings import RecordingError


@dataclass(frozen=True, slots=True)
class FindUnreachable(Task[list[Plan]]):
    """Finds plans whose power cuts leave states that no disk of a profile leaves.

    Attributes:
        place: the record's directory.
        plans: the plans to check.
        profile: the disk's profile.
    """

    place: Path
    plans: tuple[Plan, ...]
    profile: str

    def run(self, bench: Bench) -> list[Plan]:
        """Return these plans; if one cannot be checked, its trial reports why."""
        record = bench.record(self.place)
        bench.runner.choose_start(record.spec, record.preload)
        found = []
        for plan in self.plans:
            try:
                found += [] if bench.recordings.admits(record, plan, self.profile) else [plan]
            except (BoxError, RecordingError, OSError):
                bench.runner.box.empty()
        return found
