"""Sets of micro-ops that persist together: what a profile demands, as closures over bits.

A set of lost micro-ops is an integer: bit *n* is set if micro-op *n* is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from outlive_harness.disk.model.files import Node
from outlive_harness.disk.profiles import Profile

from .micro import History
from .needs import needs, waited
from .syncs import durable, is_metadata, keeps_a_log, lasting, named_by_log, superseded
from .view import View, bits


class Run:
    """One run's micro-ops and files, shared by its models under several profiles.

    Attributes:
        history: its micro-ops.
        starts: where in the ops each run begins: a killed run and its recovery are two.
        initial: the directory that the first run began with; None if it is not known.
        view: its files at a moment that can be moved.
        digests: digests of contents that were computed before.
        latest: the state that was asked for last, and its files.
    """

    def __init__(self, history: History, starts: Sequence[int], initial: Path | None) -> None:
        self.history = history
        self.starts = list(starts)
        self.initial = initial
        self.view = View(history)
        self.digests: dict[Any, str] = {}
        self.latest: tuple[tuple[int, int], dict[int, Node]] | None = None


class Closure:
    """The sets of micro-ops of one run that a disk with one profile may lose.

    Args:
        run: the run.
        profile: the disk's promises.
    """

    def __init__(self, run: Run, profile: Profile) -> None:
        self.run, self.profile = run, profile
        self.history = history = run.history
        self.view = run.view
        self._needs = needs(history, profile)
        #: micro-ops that need each micro-op
        self.needed_by: list[list[int]] = [[] for _ in self._needs]
        for number, before in enumerate(self._needs):
            for other in before:
                self.needed_by[other].append(number)
        self._metadata = self._ordered = 0
        if profile.ordered:
            for micro in history.micros:
                self._metadata |= is_metadata(micro) << micro.number
                self._ordered |= (is_metadata(micro) or micro.what in ("grow", "edge")) << micro.number
        #: what is durable when each op is called, and once it has returned
        self._called = [0]
        self._durable = [0]
        #: what persists in no order, at these two moments
        self._exempt = [(0, 0)]
        self._follow_syncs()

    def _follow_syncs(self) -> None:
        """Compute what is durable at each op."""
        history, profile = self.history, self.profile
        logged = False
        by_log: set[int] = set()
        for op in range(1, len(history.ops) + 1):
            sync = history.syncs.get(op)
            called = held = self._durable[-1]
            every = (1 << history.end[op]) - 1
            exempt = every if logged else called
            if sync is not None:
                later = superseded(history, op, by_log)
                held &= ~sum(1 << number for number in later)
                held = self._with_needs(held, durable(history, profile, sync))
                by_log |= set(named_by_log(history, profile, sync))
                by_log -= set(lasting(history, profile, sync))
                for number, last in later.items():
                    if held >> last & 1:  # the name has changed since, and its last change is durable
                        held |= 1 << number
                        by_log.discard(number)
                logged = logged or keeps_a_log(profile, sync)
            elif profile.waits and op in history.waited:
                held = self._with_needs(held, waited(history, op))
            self._called.append(called)
            self._durable.append(held)
            self._exempt.append((exempt, every if logged else held))

    def _with_needs(self, mask: int, numbers: Iterable[int]) -> int:
        waiting = list(numbers)
        while waiting:
            number = waiting.pop()
            if not mask >> number & 1:
                mask |= 1 << number
                waiting += self._needs[number]
        return mask

    def durable(self, at: int, *, returned: bool = True) -> int:
        """Return the micro-ops that cannot be lost after op *at*.

        Raises:
            ValueError: there is no such op.
        """
        if not 0 <= at <= len(self.history.ops):
            raise ValueError(f"there is no op {at}: the recording has {len(self.history.ops)}")
        return self._durable[at] if returned else self._called[at]

    def loose(self, at: int, *, returned: bool = True) -> int:
        """Return the micro-ops that may be lost after op *at*."""
        return (1 << self.history.end[at]) - 1 & ~self.durable(at, returned=returned)

    def is_written_in_flight(self, at: int) -> bool:
        """Return whether op *at* makes durable what it writes: a power cut may leave a part of its data.

        While any other sync is under way, the states are those after the op before it: the disk may write the
        same data without a sync, and a log counts only once it is complete.
        """
        sync = self.history.syncs.get(at)
        return sync is not None and sync.is_own

    def close(self, at: int, dropped: int, closed: int = 0, *, returned: bool = True) -> int:
        """Add to lost micro-ops all that cannot persist without them.

        Args:
            at: the op.
            dropped: the lost micro-ops.
            closed: some of them to which this was done before.
            returned: whether the op had returned.
        """
        end = self.history.end[at]
        below = (1 << end) - 1
        bound = self._ordered & below & ~self._exempt[at][returned]
        more = dropped & below & ~closed
        dropped = closed | more
        while more:
            waiting = list(bits(more))
            while waiting:
                for other in self.needed_by[waiting.pop()]:
                    if other < end and not dropped >> other & 1:
                        dropped |= 1 << other
                        waiting.append(other)
            more = 0
            first = dropped & self._metadata
            if first:
                # The journal ends before the op of the first lost micro-op.
                number = (first & -first).bit_length() - 1
                start = self.history.parts(self.history.micros[number].op).start
                more = bound >> start << start & ~dropped
                dropped |= more
        return dropped

    def keep(self, at: int, kept: int, *, returned: bool = True) -> int:
        """Add to persistent micro-ops all that must have persisted before them."""
        free = self._exempt[at][returned]
        more = kept
        kept = 0
        while more:
            kept = self._with_needs(kept, bits(more))
            more = 0
            last = (kept & self._ordered & ~free).bit_length()
            if last:
                end = self.history.end[self.history.micros[last - 1].op]
                more = self._metadata & ((1 << end) - 1) & ~kept
        return kept
