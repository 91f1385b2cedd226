"""What becomes of a result: an error to raise, a text to read, a property that travels with the report."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

from outlive_harness.explore.results import ScenarioResult, Trial, Verdict, gravity, read_back
from outlive_harness.plan import plan_text
from outlive_harness.report.text import brief, details, moment, visible, visible_lines


class NotHeld(AssertionError):  # noqa: N818 - named as pytest's Failed is, for pytest's short summary
    """A verdict that is violated or unknown; the text says all that there is to say of it."""

    __module__ = "builtins"  # and shown as that is: without the module


def unless_held(result: ScenarioResult) -> None:
    """Return if a result is held.

    Raises:
        NotHeld: it is violated or unknown.
    """
    __tracebackhide__ = True
    if result.verdict is not Verdict.HELD:
        raise NotHeld(_told(result))


def trial_unless_held(name: str, trial: Trial) -> None:
    """Return if nothing was violated in a trial, and it was carried out.

    Raises:
        NotHeld: something was violated, or it was not carried out.
    """
    __tracebackhide__ = True
    title = f"{visible(name)}:{plan_text(trial.plan)}"
    if trial.findings:
        op = f", {moment(plan_text(trial.plan))}: {visible(trial.op)}" if trial.op else ""
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


def _told(result: ScenarioResult) -> str:
    """Tell a result in full; the first line stands alone in pytest's short summary."""
    new = [one for one in result.violations if not one.known]
    if result.verdict is Verdict.VIOLATED and new and not result.expected:
        return "\n".join([f"violated: {brief(new[0])}", *details(result)])
    first, *more = visible_lines(result.reason)
    rest = [f"  {line}" for line in more]
    return "\n".join([f"{result.verdict}: {first}", *rest, *details(replace(result, reason=""))])


def to_property(result: ScenarioResult, fault: str, seed: int) -> str:
    """Write a result down as JSON, so that it travels in any report: between processes, in JUnit's XML."""
    return json.dumps({"fault": fault, "seed": seed, **asdict(result)})


def from_property(text: str) -> tuple[ScenarioResult, str, int]:
    """Read what to_property() wrote: the result, its fault and its seed."""
    data: dict[str, Any] = json.loads(text)
    fault, seed = str(data.pop("fault")), int(data.pop("seed"))
    return read_back(data), fault, seed
