"""Where in a Python program each op comes from: written down by the program, read while it stands still.

In a run of its own each Python of it follows its lines (see launch/traced.py), and leaves them in memory that
it shares with the worker: an op's stack is where its thread is then. Trials follow nothing.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable
from pathlib import Path

from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.launch._stack_slots import SLOT, SLOTS, read
from outlive_harness.launch.run import Ran
from outlive_harness.trace import Op

from .golden import Record
from .runner import Runner

#: Runs of fewer ops are struck at every point, and no stacks are needed to choose.
LEAST_OPS = 300
#: Frames of others: they say nothing of where in the pipeline an op comes from.
_FOREIGN = re.compile(r"/(site|dist)-packages/|/outlive_harness/")
#: Frames of its own that are kept, the innermost first.
_MOST = 8
#: How much longer a run may take that is followed so that points can be chosen by it, and seconds besides.
_SLOWER, _SLACK = 5.0, 10.0


def stacks_of(runner: Runner, made: Record) -> tuple[list[str], list[Op]]:
    """Run once more, and return what of the program itself is on the stack of each op, and the ops.

    Raises:
        OSError: the memory cannot be shared.
    """
    runner.fill(made.place / "template")
    texts: list[bytes] = []
    ops: list[Op] = []

    def note(memory: mmap.mmap, op: Op) -> None:
        texts.append(read(memory, op.tid))
        ops.append(op)

    # What is chosen without them is more than it need be, and right.
    limit = min(made.limit, _SLACK + _SLOWER * made.seconds)
    if run_followed(runner, made, note, limit).failure():
        return [], []
    own = {text: _own(text.decode(errors="surrogateescape")) for text in set(texts)}
    return [own[text] for text in texts], ops


def run_followed(
    runner: Runner, made: Record, note: Callable[[mmap.mmap, Op], object], limit: float | None = None
) -> Ran:
    """Run on the box as it is; *note* gets each op while its task stands still, and where its threads are.

    Args:
        runner: whose box it is.
        made: of what is run.
        note: what takes each op.
        limit: seconds that it may take; None stands for the record's own.

    Raises:
        OSError: the memory cannot be shared.
    """
    place = Path(f"{runner.box}.stacks")
    try:
        with place.open("w+b") as file:
            file.truncate(SLOT * SLOTS)
            with mmap.mmap(file.fileno(), SLOT * SLOTS) as memory:

                def visit(op: Op, _number: int) -> Answer:
                    note(memory, op)
                    return GO

                seconds = made.limit if limit is None else limit
                return runner.run(made.subject, timeout=seconds, visit=visit, stacks=str(place))
    finally:
        place.unlink(missing_ok=True)


def _own(text: str) -> str:
    """Keep the frames of the program itself."""
    return "\n".join([frame for frame in text.split("\n") if not _FOREIGN.search(frame)][:_MOST])
