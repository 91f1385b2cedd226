"""What an exploration waits for: jobs on the board, which workers carry out."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from . import board
from .results import Broken, Lost
from .session import Session

T = TypeVar("T")


class HarnessError(RuntimeError):
    """A fault of ours, with its traceback."""


class LostError(HarnessError):
    """Workers died of what they were to do, one after the other."""


@dataclass(slots=True)
class Waiting:
    """A job that an exploration waits for."""

    job: Path
    count: int
    fault: str = ""
    until: float | None = None
    seen: int = 0
    next_look: float = 0.0
    results: dict[int, object] = field(default_factory=dict)
    fresh: list[object] = field(default_factory=list)
    keep: Callable[[object], None] | None = None

    def is_over(self) -> bool:
        """Tell whether all that will be done of it is done; note how much is."""
        now = time.monotonic()
        if now < self.next_look:
            return False
        # Listing thousands of results for each that arrives would cost more than the trials.
        self.next_look = now + self.count * 1e-4
        self.look()
        if self.seen == self.count:
            return True
        if self.until is None or time.time() < self.until + 0.2:
            return False
        claimed = sum(1 for path in (self.job / "claims").iterdir() if path.name.isdigit())
        return claimed == self.seen

    def look(self) -> None:
        """Take in what has been done since the last look."""
        for number in sorted(board.done(self.job) - self.results.keys()):
            self.results[number] = result = board.load(self.job / "results" / str(number))
            self.fresh.append(result)
            if self.keep is not None:
                self.keep(result)
        self.seen = len(self.results)

    def news(self) -> list[object]:
        """Return what has been done since this was last asked for."""
        news, self.fresh = self.fresh, []
        return news


def handed_out(
    session: Session, name: str, payload: object, kind: type[T], *, until: float | None = None
) -> Generator[Waiting, None, T | None]:
    """Have a worker do what a payload says; None where time was up before one began.

    Raises:
        HarnessError: a fault of ours in it.
    """
    job = board.post(session.root, f"{name}-{time.time_ns()}", board.TASK, [payload], until=until)
    waiting = Waiting(job, 1, until=until)
    yield waiting
    return next(iter(collect(waiting, kind)), None)


def collect(waiting: Waiting, kind: type[T], *, shared: bool = False) -> list[T]:  # noqa: ARG001 - for the type checker
    """Take a job from the board and return what was done of it: results of one kind.

    Args:
        waiting: for the job.
        kind: of the results.
        shared: whether others may ask for them as well; else they are gone from the board.

    Raises:
        LostError: one of its units was given up.
        HarnessError: a fault of ours in one of them.
    """
    board.close(waiting.job)
    waiting.look()
    results: list[T] = []
    for _, result in sorted(waiting.results.items()):
        if isinstance(result, Broken):
            raise HarnessError(result.traceback)
        if isinstance(result, Lost):
            raise LostError(result.why)
        results.append(cast("T", result))
    if not shared:
        board.remove(waiting.job)
    return results
