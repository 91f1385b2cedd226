"""A documented import path: the names are in the modules of ``outlive_harness.results``."""

from outlive_harness.results.findings import Effect, Finding, NotJudged, Violation
from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import Coverage, RunResult, ScenarioResult, Verdict

__all__ = [
    "Coverage",
    "Effect",
    "Finding",
    "NotJudged",
    "RunResult",
    "ScenarioResult",
    "Trial",
    "Verdict",
    "Violation",
]
