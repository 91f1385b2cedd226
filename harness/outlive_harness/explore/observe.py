"""Watching a command that nothing is declared of: what it makes, and what of that can be relied on."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable
from pathlib import Path

from outlive_harness.disk.tree import Tree
from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.launch.exec import InterceptionRefusedError
from outlive_harness.launch.run import Ran
from outlive_harness.propose import Observed
from outlive_harness.trace import INSTALLS, Op

from . import board
from .runner import BoxError, Runner
from .session import Session
from .subject import Subject
from .waiting import Waiting, collect

#: Seconds from the end of one run to the begin of another: a time in a file, of whole seconds, must differ.
_APART = 1.01
_numbers = itertools.count()


def watch(session: Session, subject: Subject, timeout: float) -> Observed:
    """Have a worker observe a command, and wait for it.

    Raises:
        HarnessError: a fault of ours.
        WorkerDiedError: the workers keep dying.
    """
    name = f"o-{next(_numbers)}"
    job = board.post(session.root, name, board.OBSERVE, [(subject, session.root / "records" / name, timeout)])
    waiting = Waiting(job, 1)
    session.wake()
    while not waiting.is_over():
        session.replace_dead()
        session.wait(0.05)
    return collect(waiting, Observed)[0]


def observe(runner: Runner, subject: Subject, place: Path, timeout: float) -> Observed:
    """Run a command twice from scratch, and in between once more on its own result; nothing is judged."""
    seen = Observed()
    try:
        runner.cool()
        runner.prepare(subject, place / "template")
        _observe(runner, subject, place / "template", timeout, seen)
    except BoxError as error:
        seen.failure = str(error)
        runner.empty()
    except OSError as error:
        seen.failure = f"it cannot be run: {error.strerror or error}"
    return seen


def _observe(runner: Runner, subject: Subject, template: Path, timeout: float, seen: Observed) -> None:
    seen.initial = runner.look(subject)
    first = _run(runner, subject, timeout, seen)
    ended = time.monotonic()
    seen.seconds, seen.outside, seen.looked = first.seconds, first.outside, first.looked
    seen.blind = [reason for _, reason in first.blind]
    seen.failure, seen.stderr = first.failure(), first.told
    seen.first = runner.look(subject)
    if seen.failure:
        return
    seen.by_line = {path for path in _appended(seen.ops) if _is_by_line(runner, path, seen)}
    again = runner.run(subject, timeout=timeout)
    seen.again_failure = again.failure()
    seen.again = runner.look(subject)
    time.sleep(max(0.0, ended + _APART - time.monotonic()))
    runner.fill(template)
    second = runner.run(subject, timeout=timeout)
    if second.failure():
        seen.failure, seen.stderr = f"{second.failure()}, the second time", second.told
        return
    seen.second = runner.look(subject)
    seen.seconds = max(seen.seconds, second.seconds)


def _run(runner: Runner, subject: Subject, timeout: float, seen: Observed) -> Ran:
    """Run for the first time: what it does is recorded."""

    def visit(op: Op, _number: int) -> Answer:
        seen.ops.append(op)
        return GO

    try:
        return runner.run(subject, timeout=timeout, visit=visit, reads=True, looks=True)
    except InterceptionRefusedError as error:
        seen.refused = f"calls cannot be intercepted here: {error.strerror or error}"
        return runner.run(subject, timeout=timeout)


def _appended(ops: Iterable[Op]) -> set[str]:
    """Return the files that are written to at their ends alone."""
    appended: set[str] = set()
    otherwise: set[str] = set()
    for op in ops:
        if op.kind == "write":
            (appended if op.offset == -1 else otherwise).add(op.path)
        elif op.kind in INSTALLS:
            otherwise.add(op.target)
        elif op.kind in ("copy", "fallocate"):
            otherwise.add(op.path)
    return appended - otherwise


def _is_by_line(runner: Runner, path: str, seen: Observed) -> bool:
    """Tell whether a file that was appended to ended with a line after each write."""
    ends = _ends(path, seen.ops, seen.initial)
    try:
        with open(os.path.join(runner.box, path), "rb") as file:
            for end in ends:
                file.seek(end - 1)
                if file.read(1) != b"\n":
                    return False
            return file.seek(0, os.SEEK_END) == ends[-1]
    except OSError:
        return False


def _ends(path: str, ops: Iterable[Op], initial: Tree) -> list[int]:
    """Return how long a file was after each write."""
    size = initial[path].size if path in initial else 0
    ends = []
    for op in ops:
        if op.path != path:
            continue
        if op.kind == "truncate":
            size = op.length
        elif op.kind == "open" and op.flags & os.O_TRUNC:
            size = 0
        elif op.kind == "write" and op.length:
            size += op.length
            ends.append(size)
    return ends or [0]
