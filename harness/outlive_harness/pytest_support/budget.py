"""The time of --outlive-budget, divided among the items of all pytest processes."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from outlive_harness.jobs import queue


class Budget:
    """The time of each begun item, in a file that all processes share: what it was given, or has taken.

    Time that an item leaves goes to later items. The items of one process never take more than the whole.

    Args:
        place: the directory of the file.
        seconds: the whole time.
        items: the number of items.
        processes: the number of processes.
    """

    def __init__(self, place: Path, seconds: float, *, items: int, processes: int) -> None:
        self._ledger = place / "ledger"
        self._guard = place / "ledger.lock"
        self._seconds = seconds
        self._items = items
        self._processes = processes
        self._own = 0.0

    @contextlib.contextmanager
    def share(self) -> Iterator[float]:
        """Yield one item's share of the time that is left; at the end of the block, note what it took."""
        with self._opened() as taken:
            left = self._seconds * self._processes - sum(taken)
            fair = left / max(1, self._items - len(taken))
            share = max(0.0, min(fair, self._seconds - self._own))
            number = len(taken)
            taken.append(share)
        begun = time.monotonic()
        try:
            yield share
        finally:
            took = time.monotonic() - begun
            self._own += took
            with self._opened() as taken:
                taken[number] = took

    @contextlib.contextmanager
    def _opened(self) -> Iterator[list[float]]:
        with self._guard.open("w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            taken: list[float] = queue.load(self._ledger) if self._ledger.exists() else []
            yield taken
            queue.save(self._ledger, taken)
