"""The stack of each op in a Python program: written by the program, read while the program is stopped.

In a run of its own each Python process follows its lines (see launch/traced.py) and writes them to memory
that it shares with the worker: an op's stack is its thread's at that moment. Trials follow nothing.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable
from pathlib import Path

from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.launch._stack_slots import SLOT, SLOTS, read
from outlive_harness.launch.options import RunOptions
from outlive_harness.launch.run import FinishedRun
from outlive_harness.results.ops import Op
from outlive_harness.world.runner import Runner

from .record import Record

#: Runs of fewer ops are tried at every point, so no stacks are needed to choose points.
LEAST_OPS = 300
#: Frames that are not the pipeline's own.
_FOREIGN = re.compile(r"/(site|dist)-packages/|/outlive_harness/")
#: How many of its own frames are kept, the innermost first.
_MOST = 8
#: How many times its usual time a followed run may take, and how many seconds besides.
_SLOWER, _SLACK = 5.0, 10.0


def stacks_of(runner: Runner, record: Record) -> tuple[list[str], list[Op]]:
    """Run once more; return the program's own frames on the stack of each op, and the ops.

    Raises:
        OSError: the memory cannot be shared.
    """
    runner.box.fill(record.template)
    texts: list[bytes] = []
    ops: list[Op] = []

    def note(memory: mmap.mmap, op: Op) -> None:
        texts.append(read(memory, op.tid))
        ops.append(op)

    # Without stacks more points than necessary are chosen, which is safe.
    limit = min(record.limit, _SLACK + _SLOWER * record.seconds)
    if run_followed(runner, record, note, limit).failure():
        return [], []
    own = {text: _own(text.decode(errors="surrogateescape")) for text in set(texts)}
    return [own[text] for text in texts], ops


def run_followed(
    runner: Runner, record: Record, note: Callable[[mmap.mmap, Op], object], limit: float | None = None
) -> FinishedRun:
    """Run on the box as it is, and note each op while its task is stopped.

    Args:
        runner: runs the pipeline.
        record: the golden run.
        note: takes the shared memory with the stacks of all threads, and the op.
        limit: seconds that the run may take; None for the record's limit.

    Raises:
        OSError: the memory cannot be shared.
    """
    place = Path(f"{runner.box.path}.stacks")
    try:
        with place.open("w+b") as file:
            file.truncate(SLOT * SLOTS)
            with mmap.mmap(file.fileno(), SLOT * SLOTS) as memory:

                def visit(op: Op, _number: int) -> Answer:
                    note(memory, op)
                    return GO

                seconds = record.limit if limit is None else limit
                return runner.run(record.spec, RunOptions(timeout=seconds, visit=visit, stacks=str(place)))
    finally:
        place.unlink(missing_ok=True)


def _own(text: str) -> str:
    """Return only the frames of the program itself."""
    return "\n".join([frame for frame in text.split("\n") if not _FOREIGN.search(frame)][:_MOST])
