"""Who is told what happens, while it happens."""

from __future__ import annotations

from typing import Protocol

from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import ScenarioResult


class Observer(Protocol):
    """Gets news of an exploration."""

    def started(self, name: str) -> None:
        """Take the name of a scenario whose golden run begins."""

    def progressed(self, name: str, fault: str, tested: int, points: int) -> None:
        """Take how far a fault is explored."""

    def found(self, name: str, trial: Trial) -> None:
        """Take a trial that violates something; it is still to be confirmed, and made smaller."""

    def finished(self, result: ScenarioResult) -> None:
        """Take a scenario's verdict."""


class Silent:
    """An observer that does nothing."""

    def started(self, name: str) -> None:
        """Do nothing."""

    def progressed(self, name: str, fault: str, tested: int, points: int) -> None:
        """Do nothing."""

    def found(self, name: str, trial: Trial) -> None:
        """Do nothing."""

    def finished(self, result: ScenarioResult) -> None:
        """Do nothing."""
