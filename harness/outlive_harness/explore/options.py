"""What the doors let a user choose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from outlive_harness.faults import table
from outlive_harness.scenario import Scenario, ScenarioError

DEFAULT_FAULTS = ("kill",)


@dataclass(frozen=True, slots=True)
class Options:
    """What the doors let a user choose.

    Attributes:
        faults: the faults to strike with; None leaves it to each scenario, else ``kill``.
        depth: crashes in a row.
        points: how many crash points of each fault to sample; None for all.
        budget: seconds after which no further trial is begun; None for no limit.
        seed: decides every sample.
        store: where failures are kept.
    """

    faults: tuple[str, ...] | None = None
    depth: int = 1
    points: int | None = None
    budget: float | None = None
    seed: int = 0
    store: Path = Path(".outlive")

    def faults_of(self, scenario: Scenario) -> tuple[str, ...]:
        """Return the faults that a scenario is put through: those asked for that make sense for it.

        Raises:
            ScenarioError: there is no fault of such a name.
        """
        known = table()
        for name in (*(self.faults or ()), *(scenario.faults or ())):
            if name not in known:
                raise ScenarioError(f"unknown fault {name!r}; there are: {', '.join(known)}")
        if self.faults is None:
            return scenario.faults or DEFAULT_FAULTS
        return tuple(name for name in self.faults if scenario.faults is None or name in scenario.faults)
