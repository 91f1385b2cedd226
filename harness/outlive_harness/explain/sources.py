"""The sources of ops: a line of a Python program, or the command of a process.

The call stack of each Python process is known (see golden/stacks.py); of any other program the command line
is (proc_pid_cmdline(5)), with the stack of the Python program that started it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from mmap import mmap
from typing import NamedTuple

from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.record import Record
from outlive_harness.golden.stacks import run_followed
from outlive_harness.launch._stack_slots import is_over, read
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import Plan
from outlive_harness.trial.crash import Crash
from outlive_harness.trial.inject import run_with_fault
from outlive_harness.trial.recordings import Recordings
from outlive_harness.world.box import BoxError
from outlive_harness.world.runner import Runner

from .align import aligned
from .frames import Frame, Frames

Stack = tuple[Frame, ...]

#: The most characters of a command that are shown.
_LONGEST = 80
#: How many ancestors of a process are searched for a Python stack.
_ABOVE = 8


@dataclass(frozen=True, slots=True)
class Source:
    """The source of an op.

    Attributes:
        stack: the frames of a Python program, the innermost first; empty if it is not in Python.
        command: the command line of the process, if it has no stack of its own; the stack is then that of
            the Python program that started it, if there is one.
        is_aside: whether the op's thread has no frames of the program's own, such as a pool's thread; the
            stack then goes on with that of the thread that waits for it.
        into: the redirection by which a shell sends the command's output to the file; "" for none.
    """

    stack: Stack = ()
    command: tuple[str, ...] = ()
    is_aside: bool = False
    into: str = ""

    @property
    def lead(self) -> Frame | None:
        """The innermost frame of the user's own, or the innermost of all if there is none."""
        return next((frame for frame in self.stack if frame.is_own), self.stack[0] if self.stack else None)

    @property
    def within(self) -> Frame | None:
        """The frame of an installed package that made the call for the user's code; None if none did."""
        if self.command or not self.stack or self.stack[0].is_own:
            return None
        return self.stack[0]

    def __bool__(self) -> bool:
        return bool(self.stack or self.command)

    def __str__(self) -> str:
        text = " ".join(shlex.join(self.command).split()) + self.into
        command = f"`{text if len(text) <= _LONGEST else text[: _LONGEST - 3] + '...'}`" if text else ""
        if self.lead is None:
            return command
        aside = ", in another thread" if self.is_aside else ""
        return f"{self.lead}, running {command}" if command else f"{self.lead}{aside}"


@dataclass(slots=True)
class Followed:
    """A run whose lines were followed: its ops, and the source of each."""

    record: Record
    ops: list[Op] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)

    def of(self, ops: Sequence[Op]) -> list[Source]:
        """Return the sources of the ops of another run of the same pipeline; empty ones if unknown."""
        indexes = aligned(self.record, ops, self.ops)
        return [self.sources[index] if index >= 0 else Source() for index in indexes]


def followed(runner: Runner, record: Record) -> Followed:
    """Run a pipeline from scratch, and follow its lines."""
    found = Followed(record)
    if not record.refused and record.ops:
        with contextlib.suppress(BoxError, OSError):
            runner.box.fill(record.template)
            found.sources, found.ops = _followed(runner, record)
    return found


def sources_of_recovery(recordings: Recordings, record: Record, plan: Plan) -> tuple[list[Source], list[Op]]:
    """Return the sources of the ops of a plan's last run, and the ops.

    Raises:
        BoxError: a box could not be filled, ...
        OSError: the program cannot be run, ...
    """
    runner = recordings.runner
    runner.cool()
    runner.box.fill(record.template)
    for number, point in enumerate(plan[:-1], start=1):
        if FAULTS[point.fault].cuts_power == "real":
            return [], []  # the files of that recovery come from another run
        if FAULTS[point.fault].cuts_power == "model":
            runner.box.lay_out(recordings.cut(record, plan[:number])[1])
        elif not run_with_fault(runner, record, point, Crash())[1]:
            return [], []
    return _followed(runner, record)


def _followed(runner: Runner, record: Record) -> tuple[list[Source], list[Op]]:
    """Run on the box as it is, and follow the program's lines."""
    runner.cool()
    follower = _Follower(Frames(record, runner.box.path))
    run_followed(runner, record, follower.note)
    return follower.sources(), follower.ops


class _Follower:
    """Finds the source of each op while its task is stopped.

    Args:
        frames: reads stacks.
    """

    def __init__(self, frames: Frames) -> None:
        self.ops: list[Op] = []
        self._frames = frames
        self._found: list[Source] = []
        #: for each op, its process and the parent of that
        self._processes: list[tuple[int, int]] = []
        self._started: dict[int, _Start] = {}
        self._opened: dict[str, Source] = {}

    def note(self, memory: mmap, op: Op) -> None:
        """Note the source of an op that is about to run."""
        source = self._source(memory, op.tid)
        if op.kind == "open":
            self._opened[op.path] = source
        elif is_over(memory, op.tid):  # an unclosed file is flushed at exit: it was opened by a line
            source = self._opened.get(op.path, source)
        self.ops.append(op)
        self._found.append(source)
        process = _process(op.tid)
        self._processes.append((process, self._start(memory, process).parent))

    def sources(self) -> list[Source]:
        """Return the source of each op.

        A shell opens the file of a redirection before it starts the command or becomes it: the source of that
        open is the command.
        """
        found = list(self._found)
        later: dict[str, int] = {}
        for index in range(len(found) - 1, -1, -1):
            op, source = self.ops[index], found[index]
            then = later.get(op.path)
            if op.kind == "open" and source.command and then is not None and self.ops[then].traits.writes:
                becomes = self._found[then]
                is_its = self._processes[index][0] in self._processes[then]
                if is_its and becomes.command and becomes.command != source.command:
                    sign = ">>" if op.flags & os.O_APPEND else ">"
                    found[index] = replace(becomes, into=f" {sign} {op.path}")
            later[op.path] = index
        return found

    def _source(self, memory: mmap, tid: int) -> Source:
        process = _process(tid)
        start = self._start(memory, process)
        stack = self._frames.of(read(memory, tid))
        if _is_users(stack):
            return Source(stack if start.is_fork else stack + start.stack)
        others = _working_for(self._stacks(memory, process, but=tid), process)
        if others:
            return Source(stack + others, is_aside=True)
        if stack or (start.is_fork and start.stack):  # forked, and at no line of its own yet
            return Source(stack + start.stack)
        return Source(start.stack, self._frames.command(_command(process)))

    def _stacks(self, memory: mmap, process: int, *, but: int = 0) -> dict[int, Stack]:
        """Return the stacks of those threads of a process that have frames of the user's own."""
        stacks = {tid: self._frames.of(read(memory, tid)) for tid in _threads(process) if tid != but}
        return {tid: stack for tid, stack in stacks.items() if _is_users(stack)}

    def _start(self, memory: mmap, process: int) -> _Start:
        """Return how a process was started."""
        if process not in self._started:
            above, stacks = process, dict[int, Stack]()
            for _ in range(_ABOVE):
                above = _above(above)
                stacks = self._stacks(memory, above) if above else {}
                if stacks or not above:
                    break
            is_fork = bool(stacks) and _command(process) == _command(above)
            waits = min(stacks, key=lambda tid: (_unlikely(above, tid), tid == above), default=0)
            self._started[process] = _Start(stacks.get(waits, ()), is_fork, _above(process))
        return self._started[process]


class _Start(NamedTuple):
    """The stack of the Python program that started a process, whether it is a fork, and its parent."""

    stack: Stack
    is_fork: bool
    parent: int


def _is_users(stack: Stack) -> bool:
    return any(frame.is_own for frame in stack)


def _working_for(stacks: dict[int, Stack], process: int) -> Stack:
    """Return the stack of the thread that one without the user's frames works for: mostly the main one."""
    return stacks.get(process) or next(iter(stacks.values()), ())


#: The kernel functions in which a thread sleeps while it waits for a process or its output. A running thread
#: is the next likely one, and one that waits for a thread or a timer the least.
_WAITS = re.compile(r"(?P<process>do_wait)|.*(?P<words>pipe|poll)|(?P<other>futex|hrtimer)")
_LIKELY = ("process", "words", None, "other")


def _unlikely(process: int, tid: int) -> int:
    """Return how unlikely a thread is to wait for a process that it started: proc_pid_wchan(5)."""
    where = ""
    with contextlib.suppress(OSError), open(f"/proc/{process}/task/{tid}/wchan") as file:
        where = file.read()
    found = _WAITS.match(where)
    return _LIKELY.index(found.lastgroup if found else None)


def _process(tid: int) -> int:
    """Return the process of a thread."""
    return _number(f"/proc/{tid}/status", "Tgid:") or tid


def _above(process: int) -> int:
    """Return the parent of a process; 0 if there is none."""
    return _number(f"/proc/{process}/status", "PPid:")


def _number(path: str, key: str) -> int:
    with contextlib.suppress(OSError, ValueError), open(path, errors="replace") as file:
        return next((int(line.split()[1]) for line in file if line.startswith(key)), 0)
    return 0


def _threads(process: int) -> list[int]:
    with contextlib.suppress(OSError):
        return sorted(map(int, os.listdir(f"/proc/{process}/task")))
    return []


def _command(process: int) -> tuple[str, ...]:
    with contextlib.suppress(OSError), open(f"/proc/{process}/cmdline", "rb") as file:
        return tuple(os.fsdecode(word) for word in file.read().split(b"\0")[:-1])
    return ()
