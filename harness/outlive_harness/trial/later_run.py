"""A golden run in another second, before a difference after a recovery is called a violation.

Two golden runs of a quick program end within one second, and a time in whole seconds, as in a gzip header, is
the same in both. A recovery comes later: it would differ with no fault, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from outlive_harness.golden.advice.nondeterminism import advice
from outlive_harness.golden.moment import wait_for_another_second
from outlive_harness.jobs.tasks import Task

from .bench import Bench
from .hash_seed_check import further_runs


@dataclass(frozen=True, slots=True)
class LaterRun(Task[str]):
    """A golden run by exec, in another second than the first one.

    Attributes:
        place: the record's directory.
    """

    place: Path

    def run(self, bench: Bench) -> str:
        """Run from scratch; return how the outputs differ from the golden ones, "" if they do not."""
        record = bench.record(self.place)
        wait_for_another_second(record.ended)
        return further_runs(bench, self.place, advice(record.spec, []))
