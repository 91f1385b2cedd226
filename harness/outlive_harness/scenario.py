"""A documented import path: the names are in ``outlive_harness.results.scenario``."""

from outlive_harness.results.scenario import Scenario, ScenarioError, ack, scenario

__all__ = ["Scenario", "ScenarioError", "ack", "scenario"]
