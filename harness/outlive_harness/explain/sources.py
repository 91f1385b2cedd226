"""Where each op of a golden run comes from: a line of a Python program, or the command of a process.

Of each Python in the run the call stack is known (see explore/stacks.py); of any other program, what
/proc/PID/cmdline says (proc_pid_cmdline(5)), with the stack of the Python program that started it.
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

from outlive_harness.explore.golden import Record
from outlive_harness.explore.runner import BoxError, Runner
from outlive_harness.explore.stacks import run_followed
from outlive_harness.explore.strike import Crash, run_struck
from outlive_harness.explore.tapes import Tapes
from outlive_harness.launch._stack_slots import is_over, read
from outlive_harness.plan import Plan
from outlive_harness.trace import WRITES, Op

from .align import aligned
from .frames import Frame, Frames

Stack = tuple[Frame, ...]

_LONGEST = 80
#: Processes above one that are asked for their stack.
_ABOVE = 8


@dataclass(frozen=True, slots=True)
class Source:
    """Where an op comes from.

    Attributes:
        stack: the frames of a Python program, the innermost first; empty where it is none.
        command: of the process that made the call, where it has no stack of its own; the stack is then that
            of the program that started it, where it is one in Python.
        is_aside: whether the op is another thread's than that which the program's own frames are of: one
            that has none, as a pool's or one that a library started.
        into: where a shell sends what the command writes, as in a script; "" where that is not so.
    """

    stack: Stack = ()
    command: tuple[str, ...] = ()
    is_aside: bool = False
    into: str = ""

    @property
    def lead(self) -> Frame | None:
        """The user's own line; the innermost of all where none is the user's."""
        return next((frame for frame in self.stack if frame.is_own), self.stack[0] if self.stack else None)

    @property
    def within(self) -> Frame | None:
        """The line of an installed package that made the call for the user's own; None where none did."""
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
    """A run that was followed: its ops, and where each comes from."""

    record: Record
    ops: list[Op] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)

    def of(self, ops: Sequence[Op]) -> list[Source]:
        """Return where the ops of another run of the same subject come from; empty where nobody knows."""
        places = aligned(self.record, ops, self.ops)
        return [self.sources[place] if place >= 0 else Source() for place in places]


def followed(runner: Runner, record: Record) -> Followed:
    """Run a subject from its beginning, and see where each op comes from."""
    found = Followed(record)
    if not record.refused and record.ops:
        with contextlib.suppress(BoxError, OSError):
            runner.fill(record.place / "template")
            found.sources, found.ops = _followed(runner, record)
    return found


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
    return _followed(runner, record)


def _followed(runner: Runner, record: Record) -> tuple[list[Source], list[Op]]:
    """Run on the box as it is, and see where each op comes from."""
    runner.cool()
    follower = _Follower(Frames(record, runner.box))
    run_followed(runner, record, follower.note)
    return follower.sources(), follower.ops


class _Follower:
    """Asks where each op comes from while its task stands still.

    Args:
        frames: tells frames.
    """

    def __init__(self, frames: Frames) -> None:
        self.ops: list[Op] = []
        self._frames = frames
        self._found: list[Source] = []
        #: of each op the process that makes it, and the parent of that
        self._processes: list[tuple[int, int]] = []
        self._started: dict[int, _Start] = {}
        self._opened: dict[str, Source] = {}

    def note(self, memory: mmap, op: Op) -> None:
        """Take an op that is about to run."""
        source = self._source(memory, op.tid)
        if op.kind == "open":
            self._opened[op.path] = source
        elif is_over(memory, op.tid):  # what was never closed is written out: where it was opened tells more
            source = self._opened.get(op.path, source)
        self.ops.append(op)
        self._found.append(source)
        process = _process(op.tid)
        self._processes.append((process, self._start(memory, process).parent))

    def sources(self) -> list[Source]:
        """Return where each op comes from.

        A shell opens what a command is to write to, before it becomes that command or starts it: then that
        is told.
        """
        found = list(self._found)
        later: dict[str, int] = {}
        for place in range(len(found) - 1, -1, -1):
            op, source = self.ops[place], found[place]
            then = later.get(op.path)
            if op.kind == "open" and source.command and then is not None and self.ops[then].kind in WRITES:
                becomes = self._found[then]
                is_its = self._processes[place][0] in self._processes[then]
                if is_its and becomes.command and becomes.command != source.command:
                    sign = ">>" if op.flags & os.O_APPEND else ">"
                    found[place] = replace(becomes, into=f" {sign} {op.path}")
            later[op.path] = place
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
        """Return where the threads of a process are that are at lines of the user's."""
        stacks = {tid: self._frames.of(read(memory, tid)) for tid in _threads(process) if tid != but}
        return {tid: stack for tid, stack in stacks.items() if _is_users(stack)}

    def _start(self, memory: mmap, process: int) -> _Start:
        """Return what is known of the start of a process."""
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
    """Where the Python program is that started a process; whether it is a fork of that; its parent."""

    stack: Stack
    is_fork: bool
    parent: int


def _is_users(stack: Stack) -> bool:
    return any(frame.is_own for frame in stack)


def _working_for(stacks: dict[int, Stack], process: int) -> Stack:
    """Return where the thread is that one without lines of the user's works for: the main one as a rule."""
    return stacks.get(process) or next(iter(stacks.values()), ())


#: Where in the kernel a thread sleeps that waits for a process, or for what that writes; another that runs
#: comes next, and last one that waits for a thread or a moment.
_WAITS = re.compile(r"(?P<process>do_wait)|.*(?P<words>pipe|poll)|(?P<other>futex|hrtimer)")
_LIKELY = ("process", "words", None, "other")


def _unlikely(process: int, tid: int) -> int:
    """Return how little a thread looks as if it waits for a process that it started: proc_pid_wchan(5)."""
    where = ""
    with contextlib.suppress(OSError), open(f"/proc/{process}/task/{tid}/wchan") as file:
        where = file.read()
    found = _WAITS.match(where)
    return _LIKELY.index(found.lastgroup if found else None)


def _process(tid: int) -> int:
    """Return the process that a thread is of."""
    return _number(f"/proc/{tid}/status", "Tgid:") or tid


def _above(process: int) -> int:
    """Return the parent of a process; 0 where there is none."""
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
