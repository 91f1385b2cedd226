"""The time of one invocation, shared among its scenarios."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from outlive_harness.golden.record import Record

#: What is kept back: a part of the time, or the time of some runs if that is more, but half at most.
_PART, _RUNS, _MOST = 0.25, 4.0, 0.5


@dataclass(slots=True)
class Budget:
    """Shares the remaining time among the scenarios that are not explored yet.

    Attributes:
        end: wall-clock time at which the budget is used up; None for no limit.
        left: the number of scenarios.
        begun: the names of the scenarios that have had a share.
    """

    end: float | None
    left: int
    begun: set[str] = field(default_factory=set)

    def until(self, name: str) -> float | None:
        """Return the wall-clock time until which a scenario's trials may start; None for no limit."""
        if self.end is None:
            return None
        now = time.time()
        share = max(0.0, self.end - now) / max(1, self.left - len(self.begun - {name}))
        self.begun.add(name)
        return now + share


def kept_back(record: Record, left: float, *, part: float = _PART) -> float:
    """Return the seconds of a budget that are kept back, if a violation was found, to confirm and explain it.

    Args:
        record: the golden run.
        left: the seconds that are left.
        part: the part of them that is kept back in any case.
    """
    return max(0.0, left) * max(part, min(_MOST, _RUNS * record.seconds / max(left, 1e-9)))
