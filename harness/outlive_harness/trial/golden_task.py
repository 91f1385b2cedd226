"""The golden run of a scenario, as a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from outlive_harness.disk.blobs import Blobs
from outlive_harness.golden.generations import learn_generations
from outlive_harness.golden.one_run import GoldenRun
from outlive_harness.golden.record import Record, record_file
from outlive_harness.golden.runs import golden_run
from outlive_harness.jobs.queue import save
from outlive_harness.jobs.tasks import Task
from outlive_harness.results.ops import Op
from outlive_harness.results.options import MEMORY
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.world.box import BoxError

from .bench import Bench
from .recordings import Recordings


@dataclass(frozen=True, slots=True)
class GoldenRecorder:
    """Makes a golden run the recording of the first run.

    Attributes:
        recordings: takes the recording.
        memory: bytes of recorded data that are kept in memory.
    """

    recordings: Recordings
    memory: int

    def room(self, record: Record) -> Blobs:
        """Return what takes the bytes that the run writes."""
        return self.recordings.room(record, (), self.memory)

    def keep(self, record: Record, run: GoldenRun, ops: Sequence[Op], blobs: Blobs) -> None:
        """Keep the run, which is over, and whose files are in the box."""
        self.recordings.keep(record, ops, run.ran, run.versions)
        blobs.leave()


@dataclass(frozen=True, slots=True)
class GoldenRunTask(Task[Record]):
    """A golden run.

    Attributes:
        spec: the pipeline.
        place: the record's directory.
        zygote: whether runs may be forked from a zygote.
        memory: bytes of recorded data that are kept in memory.
    """

    spec: RunSpec
    place: Path
    zygote: bool = True
    memory: int = MEMORY

    def run(self, bench: Bench) -> Record:
        """Make the golden run; keep and return its record."""
        self.place.mkdir(parents=True, exist_ok=True)
        recorder = GoldenRecorder(bench.recordings, self.memory)
        record = golden_run(bench.runner, self.spec, self.place, by_exec=not self.zygote, recorder=recorder)
        if not (record.reason or record.refused):
            record.reason = self._unexplained(bench, record)
        if record.spec.together and not record.reason:
            self._learn_generations(bench, record)
        save(record_file(self.place), record)
        return record

    def _learn_generations(self, bench: Bench, record: Record) -> None:
        """Note the versions of files that belong together; without a recording, the first and the last."""
        if record.refused:
            learn_generations(record, (), b"", record.refused)
            return
        recording = bench.recordings.of(record, (), memory=self.memory).recording
        learn_generations(record, recording.ops, recording.box, recording.reason)

    def _unexplained(self, bench: Bench, record: Record) -> str:
        """Return the outputs that no op accounts for, in words; "" if there are none."""
        bench.runner.choose_start(record.spec, record.preload, record.check_preloads)
        try:
            return bench.recordings.unexplained(record, memory=self.memory)
        except (BoxError, OSError) as error:
            bench.runner.box.empty()
            return str(error)

    def lost(self, why: str) -> Record:
        """Keep and return a record with the reason for the missing golden run."""
        record = Record(self.spec, self.place, reason=why)
        self.place.mkdir(parents=True, exist_ok=True)
        save(record_file(self.place), record)
        return record
