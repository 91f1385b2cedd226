"""Where each op of a golden run comes from: a line of a Python program, or the command of a process.

Of a Python program the call stack is known, from a run of its own with a profiling hook (see
launch/_stack_slots.py); of any other, what /proc/PID/cmdline says (proc_pid_cmdline(5)), with the stack of
the Python program that started it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from dataclasses import dataclass
from difflib import SequenceMatcher
from mmap import mmap
from pathlib import Path

from outlive_harness.explore.golden import Record, shape
from outlive_harness.explore.runner import BoxError, Runner
from outlive_harness.explore.stacks import run_with_stacks
from outlive_harness.explore.strike import Crash, run_struck
from outlive_harness.explore.tapes import Tapes
from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.launch._stack_slots import read
from outlive_harness.launch.zygote import Preload, ZygoteError, parse
from outlive_harness.plan import Plan
from outlive_harness.trace import Op

_FRAME = re.compile(r"(?P<file>.+):(?P<line>[0-9]+) (?P<function>.+)")
#: Frames that are nobody's own: the interpreter, installed packages, and our two packages.
_FOREIGN = re.compile(
    r"<frozen |/(site|dist)-packages/|/lib/python3[^/]*/|/outlive_harness/|/outlive/(_[a-z_]+|__init__)\.py$"
)
_LONGEST = 80
#: Processes above one that are asked for their stack.
_ABOVE = 8


@dataclass(frozen=True, slots=True)
class Frame:
    """One level of a call stack."""

    file: str
    line: int
    function: str

    @property
    def is_own(self) -> bool:
        """Whether it is of the program itself, and not of a library."""
        return _FOREIGN.search(self.file) is None

    def __str__(self) -> str:
        where = os.path.relpath(self.file) if self.file.startswith(os.getcwd() + os.sep) else self.file
        name = "" if self.function == "<module>" else f" in {self.function.removeprefix('<locals>.')}"
        return f"{where}:{self.line}{name}"


@dataclass(frozen=True, slots=True)
class Source:
    """Where an op comes from.

    Attributes:
        stack: the frames of a Python program, the innermost first; empty where it is none.
        command: of the process that made the call, where it has no stack of its own; the stack is then that
            of the program that started it, where it is one in Python.
    """

    stack: tuple[Frame, ...] = ()
    command: tuple[str, ...] = ()

    @property
    def lead(self) -> Frame | None:
        """The user's own line; the innermost of all where none is the user's."""
        return next((frame for frame in self.stack if frame.is_own), self.stack[0] if self.stack else None)

    def __bool__(self) -> bool:
        return bool(self.stack or self.command)

    def __str__(self) -> str:
        text = " ".join(shlex.join(self.command).split())
        command = f"`{text if len(text) <= _LONGEST else text[: _LONGEST - 3] + '...'}`" if text else ""
        if self.lead is None:
            return command
        return f"{self.lead}, running {command}" if command else str(self.lead)


def sources_of(runner: Runner, record: Record) -> list[Source]:
    """Return where each op of the golden run comes from, in their order; empty sources where nobody knows."""
    nothing = [Source()] * len(record.ops)
    if record.refused or not record.ops:
        return nothing
    argv = record.subject.command(record.subject.argv, runner.box)[0]
    try:
        runner.fill(record.place / "template")
        found, ops = _by_stacks(runner, record) if parse(argv) is not None else _by_commands(runner, record)
    except (BoxError, OSError, ZygoteError):
        return nothing
    finally:
        runner.cool()
    return _aligned(record, found, ops)


def sources_of_recovery(tapes: Tapes, record: Record, plan: Plan) -> tuple[list[Source], list[Op]]:
    """Return where the ops of the run come from that the last crash of a plan strikes, and the ops.

    Raises:
        BoxError: a box could not be filled, ...
        OSError: the program cannot be run, ...
    """
    runner = tapes.runner
    runner.cool()
    runner.fill(record.place / "template")
    for number, point in enumerate(plan[:-1], start=1):
        if point.fault == "power":
            runner.lay_out(tapes.cut(record, plan[:number])[1])
        elif not run_struck(runner, record, point, Crash())[1]:
            return [], []
    argv = record.subject.command(record.subject.argv, runner.box)[0]
    try:
        return (_by_stacks if parse(argv) is not None else _by_commands)(runner, record)
    finally:
        runner.cool()


def _by_stacks(runner: Runner, record: Record) -> tuple[list[Source], list[Op]]:
    """Run on the box as it is, with a profiling hook."""
    try:
        runner.warm(record.subject, record.preload or Preload())
    except ZygoteError:
        return _by_commands(runner, record)
    others: dict[int, Source] = {}

    def meet(memory: mmap, place: int, tid: int) -> None:
        others[place] = Source(_frames(_starter(memory, tid)), _command(tid))

    texts, ops = run_with_stacks(runner, record, meet)
    known = {text: Source(_frames(text)) for text in set(texts)}
    return [others.get(place) or known[text] for place, text in enumerate(texts)], ops


def _starter(memory: mmap, tid: int) -> str:
    """Return the stack of the closest process above a task that has one; "" where several threads have."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for _ in range(_ABOVE):
            stat = Path(f"/proc/{tid}/stat").read_text(errors="replace")
            tid = int(stat.rpartition(")")[2].split()[1])
            stacks = [read(memory, int(thread)) for thread in os.listdir(f"/proc/{tid}/task")]
            if any(stacks):
                (text,) = filter(None, stacks)
                return text.decode(errors="surrogateescape")
    return ""


def _command(tid: int) -> tuple[str, ...]:
    with contextlib.suppress(OSError), open(f"/proc/{tid}/cmdline", "rb") as file:
        return tuple(os.fsdecode(word) for word in file.read().split(b"\0")[:-1])
    return ()


def _frames(text: str) -> tuple[Frame, ...]:
    matches = filter(None, map(_FRAME.fullmatch, text.split("\n")))
    return tuple(Frame(one["file"], int(one["line"]), one["function"]) for one in matches)


def _by_commands(runner: Runner, record: Record) -> tuple[list[Source], list[Op]]:
    """Run on the box as it is, and ask for the command of each process that makes an op."""
    runner.cool()
    found: list[Source] = []
    ops: list[Op] = []

    def visit(op: Op, _number: int) -> Answer:
        found.append(Source(command=_command(op.tid)))
        ops.append(op)
        return GO

    runner.run(record.subject, timeout=record.limit, visit=visit)
    return found, ops


def _aligned(record: Record, found: list[Source], ops: list[Op]) -> list[Source]:
    """Give the golden run's ops the sources of another run's: one by one, or as far as the two agree."""
    wanted, other = shape(record, record.ops), shape(record, ops)
    if wanted == other:
        return found
    sources = [Source()] * len(wanted)
    for block in SequenceMatcher(None, wanted, other, autojunk=False).get_matching_blocks():
        sources[block.a : block.a + block.size] = found[block.b : block.b + block.size]
    return sources
