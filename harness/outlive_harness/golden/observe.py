"""Observation of an undeclared command: the files that it makes, and which of them are stable."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from outlive_harness.disk.tree import Tree
from outlive_harness.intercept.supervisor import GO, Answer, Ending
from outlive_harness.jobs.tasks import Task
from outlive_harness.launch.exec import InterceptionRefusedError
from outlive_harness.launch.options import RunOptions
from outlive_harness.launch.run import FinishedRun
from outlive_harness.results.ops import Op
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.world.box import BoxError
from outlive_harness.world.runner import Runner

from .advice.by_value import by_value
from .advice.cures import Cure
from .contents import all_unlike
from .databases import with_databases
from .moment import wait_for_another_second
from .record import Record


@dataclass(slots=True)
class Observation:
    """Facts about a command, from runs without a fault.

    Attributes:
        initial: the files before the first run.
        first: the files after it.
        again: the files after one more run, on the result of the first.
        second: the files after a run from scratch, at another second.
        ops: the ops of the first run.
        by_line: files that grew by whole lines.
        looked: paths in the box that the first run opened, or tried to open, for reading.
        outside: files outside the box that the first run wrote.
        blind: reasons why changes may have gone unseen.
        seconds: wall time of the longer run from scratch.
        failure: how a run from scratch failed; "" if none did.
        overran: whether that run reached its time limit.
        stderr: the last output of that run.
        cures: the readers and masks by which files are equal that differ in their bytes.
        again_failure: how the run on the first one's result failed; "" if it did not.
        refused: why calls could not be intercepted; "" if they were.
    """

    initial: Tree = field(default_factory=dict)
    first: Tree = field(default_factory=dict)
    again: Tree = field(default_factory=dict)
    second: Tree = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    by_line: set[str] = field(default_factory=set)
    looked: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    blind: list[str] = field(default_factory=list)
    seconds: float = 0.0
    failure: str = ""
    overran: bool = False
    stderr: str = ""
    cures: list[Cure] = field(default_factory=list)
    again_failure: str = ""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class ObserveTask(Task[Observation]):
    """Observes a command.

    Attributes:
        spec: the command.
        place: a directory that the task may fill.
        timeout: seconds of one run.
    """

    spec: RunSpec
    place: Path
    timeout: float

    def run(self, bench: _Bench) -> Observation:
        """Run the command twice from scratch, and in between once more on its own result."""
        return observe(bench.runner, self.spec, self.place, self.timeout)


class _Bench(Protocol):
    @property
    def runner(self) -> Runner: ...


def observe(runner: Runner, spec: RunSpec, place: Path, timeout: float) -> Observation:
    """Run a command twice from scratch, and in between once more on its own result; nothing is judged."""
    seen = Observation()
    try:
        runner.cool()
        runner.prepare(spec, place / "template")
        _observe(runner, spec, place, timeout, seen)
    except BoxError as error:
        seen.failure = str(error)
        runner.box.empty()
    except OSError as error:
        seen.failure = f"it cannot be run: {error.strerror or error}"
    return seen


def _observe(runner: Runner, spec: RunSpec, place: Path, timeout: float, seen: Observation) -> None:
    template = place / "template"
    seen.initial = runner.box.look(spec)
    first = _run(runner, spec, timeout, seen)
    ended = time.time()
    seen.seconds, seen.outside, seen.looked = first.seconds, first.outside, first.looked
    seen.blind = [reason for _, reason in first.blind]
    seen.failure, seen.stderr, seen.overran = first.failure(), first.told, first.ended is Ending.TIMEOUT
    files = runner.box.look(spec)
    spec = with_databases(spec, files, runner.box.path)
    runner.box.keep(place / "golden")
    seen.first = runner.valued(spec, files)
    seen.initial = runner.reading.valued(spec, seen.initial, template)
    if seen.failure:
        return
    seen.by_line = by_line(runner.box.path, seen)
    again = runner.run(spec, RunOptions(timeout=timeout))
    seen.again_failure = again.failure()
    seen.again = runner.look(spec)
    wait_for_another_second(ended)
    runner.box.fill(template)
    second = runner.run(spec, RunOptions(timeout=timeout))
    if second.failure():
        seen.failure, seen.stderr = f"{second.failure()}, the second time", second.told
        seen.overran = second.ended is Ending.TIMEOUT
        return
    seen.second = runner.look(spec)
    seen.seconds = max(seen.seconds, second.seconds)
    _note_values(runner, Record(spec, place, final=seen.first), seen)


def _note_values(runner: Runner, record: Record, seen: Observation) -> None:
    """Note by which readers and masks files that differ are equal; they then count as equal."""
    found = by_value(runner, record, all_unlike(record, seen.second))
    seen.cures = found.cures
    for path in found.paths:
        seen.second[path] = seen.first[path]
        if path in seen.again:
            seen.again[path] = seen.first[path]


def _run(runner: Runner, spec: RunSpec, timeout: float, seen: Observation) -> FinishedRun:
    """Run for the first time, and record the ops."""

    def visit(op: Op, _number: int) -> Answer:
        seen.ops.append(op)
        return GO

    try:
        return runner.run(spec, RunOptions(timeout=timeout, visit=visit, reads=True, looks=True))
    except InterceptionRefusedError as error:
        seen.refused = f"calls cannot be intercepted here: {error.strerror or error}"
        return runner.run(spec, RunOptions(timeout=timeout))


def by_line(box: Path, seen: Observation) -> set[str]:
    """Return the files that grew by whole lines in a run that left *box*."""
    return {path for path in _appended(seen.ops) if _is_by_line(box, path, seen)}


def _appended(ops: Iterable[Op]) -> set[str]:
    """Return the files that are written at their ends only."""
    appended: set[str] = set()
    otherwise: set[str] = set()
    for op in ops:
        if op.kind == "write":
            (appended if op.offset == -1 else otherwise).add(op.path)
        elif op.traits.installs:
            otherwise.add(op.target)
        elif op.kind in ("copy", "fallocate"):
            otherwise.add(op.path)
    return appended - otherwise


def _is_by_line(box: Path, path: str, seen: Observation) -> bool:
    """Return whether an appended file ended with a whole line after each write."""
    ends = _ends(path, seen.ops, seen.initial)
    try:
        with open(os.path.join(box, path), "rb") as file:
            for end in ends:
                file.seek(end - 1)
                if file.read(1) != b"\n":
                    return False
            return file.seek(0, os.SEEK_END) == ends[-1]
    except OSError:
        return False


def _ends(path: str, ops: Iterable[Op], initial: Tree) -> list[int]:
    """Return the length of a file after each write."""
    size = initial[path].size if path in initial else 0
    ends = []
    for op in ops:
        if op.path != path:
            continue
        if op.kind == "truncate":
            size = op.length
        elif op.empties:
            size = 0
        elif op.kind == "write" and op.length:
            size += op.length
            ends.append(size)
    return ends or [0]
