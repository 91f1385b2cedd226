"""The time of one invocation, shared among its scenarios."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Budget:
    """Shares what time is left among the scenarios that are still to be explored.

    Attributes:
        end: moment of the wall clock at which it is used up; None for no limit.
        left: how many scenarios there are.
        begun: the names of those that have had a share.
    """

    end: float | None
    left: int
    begun: set[str] = field(default_factory=set)

    def until(self, name: str) -> float | None:
        """Return the moment until which this scenario's trials may begin; None for no limit."""
        if self.end is None:
            return None
        now = time.time()
        share = max(0.0, self.end - now) / max(1, self.left - len(self.begun - {name}))
        self.begun.add(name)
        return now + share
