"""Words for people: one violation, one plan, odd paths made harmless."""

from __future__ import annotations

import os
import shlex

from outlive_harness.explore.results import ScenarioResult, Violation


def visible(text: str) -> str:
    """Return a text that is safe to print: control characters and bytes that are no UTF-8 escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def visible_lines(text: str) -> list[str]:
    """Return the lines of a text, each safe to print."""
    return [visible(line) for line in text.split("\n")]


def replay_line(violation: Violation) -> str:
    """Return the line to paste that carries out exactly this failure again."""
    return f"outlive replay {shlex.quote(violation.replay)}" if violation.replay else ""


def explain(violation: Violation) -> list[str]:
    """Say in a few lines what was violated, where, how it differs, and how to see it again."""
    lines = [f"{violation.kind}: {visible(violation.message)}"]
    if violation.point:
        points = f" (and at {violation.points - 1} more points)" if violation.points > 1 else ""
        op = f", before: {visible(violation.op)}" if violation.op else ""
        lines.append(f"  struck at {violation.point}{op}{points}")
    lines += [f"  {line}" for line in visible_lines(violation.detail) if violation.detail]
    if violation.confirmed is False:
        lines.append(
            "  seen once; a second run of the same plan did not show it (threads, time, randomness?)"
        )
    if violation.kept:
        lines.append(f"  boxes: {visible(os.path.relpath(violation.kept))}")
    if violation.replay:
        lines.append(f"  {replay_line(violation)}")
    return lines


def verdict_word(result: ScenarioResult) -> str:
    """Return the verdict as a table shows it; a known-bad scenario that was caught says so."""
    if result.expected and result.verdict == "held":
        return f"caught {', '.join(result.expected)}"
    return str(result.verdict)


def counts(result: ScenarioResult) -> tuple[str, str]:
    """Return the tested points (of how many), and the distinct states, over all faults."""
    points = sum(coverage.points for coverage in result.faults.values())
    tested = sum(coverage.tested for coverage in result.faults.values())
    states = sum(coverage.states for coverage in result.faults.values())
    return (str(points) if tested == points else f"{tested} of {points}"), str(states)
