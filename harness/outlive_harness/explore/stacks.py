"""Where in a Python program each op comes from: written down by the program, read while it stands still.

In a run of its own, forked from the zygote, a profiling hook (sys.setprofile()) writes the stack of each
call into C to memory that it shares with the worker; an op's stack is the one of the last such call of
its thread. Trials have no hook.
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
_FOREIGN = re.compile(r"^<frozen|/(site|dist)-packages/|/lib/python3[^/]*/|/outlive_harness/")
#: Frames of its own that are kept, the innermost first.
_MOST = 8


def stacks_of(runner: Runner, made: Record) -> tuple[list[str], list[Op]]:
    """Run once more, and return what of the program itself is on the stack of each op, and the ops.

    Raises:
        ZygoteError: no zygote is warm.
        OSError: the memory cannot be shared.
    """
    runner.fill(made.place / "template")
    texts, ops = run_with_stacks(runner, made)
    own = {text: _own(text) for text in set(texts)}
    return [own[text] for text in texts], ops


def run_with_stacks(
    runner: Runner, made: Record, meet: Callable[[mmap.mmap, int, int], object] | None = None
) -> tuple[list[str], list[Op]]:
    """Run on the box as it is, and return the stack of each op and the ops.

    A stack is a text, a line ``FILE:LINE FUNCTION`` for each frame, the innermost first. Where a task has
    none, *meet* gets the memory with those of others, the op's place among the ops, and the task, which
    stands still. See stacks_of() for what is raised.
    """
    place = Path(f"{runner.box}.stacks")
    found: list[str] = []
    ops: list[Op] = []
    known: dict[bytes, str] = {}
    try:
        with place.open("w+b") as file:
            file.truncate(SLOT * SLOTS)
            with mmap.mmap(file.fileno(), SLOT * SLOTS) as memory:

                def visit(op: Op, _number: int) -> Answer:
                    text = read(memory, op.tid)
                    if not text and meet is not None:
                        meet(memory, len(ops), op.tid)
                    if text not in known:
                        known[text] = text.decode(errors="surrogateescape")
                    found.append(known[text])
                    ops.append(op)
                    return GO

                ran: Ran = runner.run(made.subject, timeout=made.limit, visit=visit, stacks=str(place))
    finally:
        place.unlink(missing_ok=True)
    return ([], []) if ran.failure() else (found, ops)


def _own(text: str) -> str:
    """Keep the frames of the program itself."""
    return "\n".join([frame for frame in text.split("\n") if not _FOREIGN.search(frame)][:_MOST])
