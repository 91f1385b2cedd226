"""The golden run of a scenario, as a task; one that takes long is two tasks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from outlive_harness.disk.blobs import Blobs
from outlive_harness.disk.tree import Tree
from outlive_harness.golden.begun import Begun
from outlive_harness.golden.generations import learn_generations
from outlive_harness.golden.one_run import GoldenRun
from outlive_harness.golden.record import Record, record_file
from outlive_harness.golden.runs import begin_golden_run, finish_golden_run
from outlive_harness.jobs.queue import load, save
from outlive_harness.jobs.tasks import Task
from outlive_harness.results.ops import Op
from outlive_harness.results.options import MEMORY
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.world.box import BoxError

from .bench import Bench
from .recordings import Recordings

#: Seconds of a first run from which on its crash states are judged before the further runs are over.
LONG = 5.0
#: What the key of the job of the further runs ends in.
REST = "-rest"
#: The file in a record's directory that holds a golden run of which the first run is over.
_BEGUN = "begun"


class FirstRun(NamedTuple):
    """A golden run of which only the first run is over.

    Attributes:
        place: the record's directory.
        seconds: how long the run took.
    """

    place: Path
    seconds: float

    def load(self) -> Begun:
        """Return the golden run so far."""
        begun: Begun = load(self.place / _BEGUN)
        return begun


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
        return self.recordings.room(record, self.memory)

    def keep(self, record: Record, run: GoldenRun, ops: Sequence[Op], left: Tree) -> None:
        """Keep the run, which is over, and whose files are in the box."""
        self.recordings.keep(record, ops, run.ran, run.versions, left)


@dataclass(frozen=True, slots=True)
class GoldenRunTask(Task[Record | FirstRun]):
    """A golden run; if its first run takes long, only that.

    Attributes:
        spec: the pipeline.
        place: the record's directory.
        zygote: whether runs may be forked from a zygote.
        memory: bytes of recorded data that are kept in memory.
        until: wall-clock time at which it is given up; None for no limit.
    """

    spec: RunSpec
    place: Path
    zygote: bool = True
    memory: int = MEMORY
    until: float | None = None

    def run(self, bench: Bench) -> Record | FirstRun:
        """Make the golden run; keep and return its record."""
        with bench.runner.due(self.until):
            return self._run(bench)

    def _run(self, bench: Bench) -> Record | FirstRun:
        self.place.mkdir(parents=True, exist_ok=True)
        begun = begin_golden_run(bench.runner, self.spec, self.place, memory=self.memory)
        if isinstance(begun, Record):
            save(record_file(self.place), begun)
            return begun
        if begun.ran.seconds >= LONG and begun.ops:
            save(self.place / _BEGUN, begun)
            return FirstRun(self.place, begun.ran.seconds)
        return _finished(bench, begun, self)

    def lost(self, why: str) -> Record:
        """Keep and return a record with the reason for the missing golden run."""
        record = Record(self.spec, self.place, reason=why)
        self.place.mkdir(parents=True, exist_ok=True)
        save(record_file(self.place), record)
        return record


@dataclass(frozen=True, slots=True)
class FinishGoldenRun(Task[Record]):
    """The further runs of a golden run.

    Attributes:
        whole: the golden run.
        first: its first run.
    """

    whole: GoldenRunTask
    first: FirstRun

    def run(self, bench: Bench) -> Record:
        """Make the further runs; keep and return the record."""
        begun = self.first.load()
        record, box = begun.record, bench.runner.box
        bench.runner.cool()
        box.unchanged.shared.choose(record.template, record.shared)
        try:
            box.fill(record.golden)
        except BoxError as error:
            return self.lost(str(error))
        with bench.runner.due(self.whole.until):
            return _finished(bench, begun, self.whole)

    def lost(self, why: str) -> Record:
        """Keep and return a record with the reason for the missing golden run."""
        return self.whole.lost(why)


def _finished(bench: Bench, begun: Begun, task: GoldenRunTask) -> Record:
    """Make the further runs of a golden run; keep and return its record."""
    recorder = GoldenRecorder(bench.recordings, task.memory)
    record = finish_golden_run(bench.runner, begun, by_exec=not task.zygote, recorder=recorder)
    if not (record.reason or record.refused):
        record.reason = _unexplained(bench, record, task.memory)
    if record.spec.together and not record.reason:
        _learn_generations(bench, record, task.memory)
    save(record_file(record.place), record)
    return record


def _learn_generations(bench: Bench, record: Record, memory: int) -> None:
    """Note the versions of files that belong together; without a recording, the first and the last."""
    if record.refused:
        learn_generations(record, (), b"", record.refused)
        return
    recording = bench.recordings.of(record, (), memory=memory).recording

    def value_of(path: str, content: bytes) -> str:
        """Return the digest of the value of an output, read from a file of the same name."""
        runner = bench.runner
        with tempfile.TemporaryDirectory(dir=runner.box.place, prefix="version-") as directory:
            file = Path(directory, os.path.basename(path))
            file.write_bytes(runner.box.own(content))
            return runner.reading.digest(record.spec, str(file), path, runner.box.bytes) or ""

    learn_generations(record, recording.ops, recording.box, recording.reason, value_of)


def _unexplained(bench: Bench, record: Record, memory: int) -> str:
    """Return the outputs that no op accounts for, in words; "" if there are none."""
    bench.runner.choose_start(record.spec, record.preload, record.check_preloads)
    try:
        return bench.recordings.unexplained(record, memory=memory)
    except (BoxError, OSError) as error:
        bench.runner.box.empty()
        return str(error)
