"""Results for pytest: an error with a text, and a property that travels with the report."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

from outlive_harness.report.escaped import visible, visible_lines
from outlive_harness.report.text import brief, details, moment
from outlive_harness.results.plan import plan_text
from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import ScenarioResult, Verdict, read_back
from outlive_harness.results.violations import gravity


class NotHeld(AssertionError):  # noqa: N818 - named as pytest's Failed is, for pytest's short summary
    """A scenario is violated or unknown; the text is the whole report of it."""

    __module__ = "builtins"  # pytest then shows it without a module


def unless_held(result: ScenarioResult) -> None:
    """Return if a result is held.

    Raises:
        NotHeld: it is violated or unknown.
    """
    __tracebackhide__ = True
    if result.verdict is not Verdict.HELD:
        raise NotHeld(_report(result))


def trial_unless_held(name: str, trial: Trial) -> None:
    """Return if a trial was carried out and nothing was violated.

    Raises:
        NotHeld: something was violated, or the trial was not carried out.
    """
    __tracebackhide__ = True
    title = f"{visible(name)}:{plan_text(trial.plan)}"
    if trial.findings:
        op = f", {moment(trial.plan)}: {visible(trial.op)}" if trial.op else ""
        lines = [f"violated: {title}{op}"]
        for finding in sorted(trial.findings, key=lambda one: gravity(one.kind)):
            lines += [f"{finding.kind}: {visible(finding.message)}"]
            lines += [f"  {line}" for line in visible_lines(finding.detail) if line]
        raise NotHeld("\n".join(lines))
    if trial.trouble:
        raise NotHeld(f"unknown: {title} could not be carried out: {visible(trial.trouble)}")
    if not trial.reached:
        raise NotHeld(
            f"unknown: {title} was not reached: a run ended before its crash point; "
            "assume(trial.reached) drops such a plan"
        )


def _report(result: ScenarioResult) -> str:
    """Return a result as text; only the first line is in pytest's short summary."""
    new = [one for one in result.violations if not one.known]
    if result.verdict is Verdict.VIOLATED and new and not result.expected:
        return "\n".join([f"violated: {brief(new[0])}", *details(result)])
    first, *more = visible_lines(result.reason)
    rest = [f"  {line}" for line in more]
    return "\n".join([f"{result.verdict}: {first}", *rest, *details(replace(result, reason=""))])


def to_property(result: ScenarioResult, fault: str, seed: int) -> str:
    """Return a result as JSON, so that it can travel with a report, between processes or in JUnit XML."""
    return json.dumps({"fault": fault, "seed": seed, **asdict(result)})


def from_property(text: str) -> tuple[ScenarioResult, str, int]:
    """Return the result, fault and seed that to_property() turned into JSON."""
    data: dict[str, Any] = json.loads(text)
    fault, seed = str(data.pop("fault")), int(data.pop("seed"))
    return read_back(data), fault, seed
