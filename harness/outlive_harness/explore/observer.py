"""Observers, which get the news of an exploration while it runs."""

from __future__ import annotations

from typing import Protocol

from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import ScenarioResult


class Observer(Protocol):
    """Gets news of an exploration."""

    def started(self, name: str) -> None:
        """Take the name of a scenario whose exploration begins."""

    def progressed(self, name: str, fault: str, tested: int, points: int) -> None:
        """Take the progress of a fault's search."""

    def found(self, name: str, trial: Trial) -> None:
        """Take a trial with a violation, which is not yet confirmed or made smaller."""

    def seen(self, name: str, trial: Trial) -> None:
        """Take what a recording shows to be wrong with a crash state, before any recovery is run."""

    def foretold(self, name: str, text: str) -> None:
        """Take what a scenario's trials will take, in words."""

    def finished(self, result: ScenarioResult) -> None:
        """Take a scenario's result."""


class Silent:
    """An observer that does nothing."""

    def started(self, name: str) -> None:
        """Do nothing."""

    def progressed(self, name: str, fault: str, tested: int, points: int) -> None:
        """Do nothing."""

    def found(self, name: str, trial: Trial) -> None:
        """Do nothing."""

    def seen(self, name: str, trial: Trial) -> None:
        """Do nothing."""

    def foretold(self, name: str, text: str) -> None:
        """Do nothing."""

    def finished(self, result: ScenarioResult) -> None:
        """Do nothing."""
