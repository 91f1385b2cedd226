"""The table at the end of a pytest run, made from properties of the reports."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping

import pytest

from outlive_harness.report import github
from outlive_harness.report.escaped import visible
from outlive_harness.report.text import (
    COLOURS,
    counts,
    not_judged,
    note,
    replay_line,
    verdict_line,
    verdict_word,
)
from outlive_harness.results.verdicts import RunResult, ScenarioResult, Verdict

from .outcome import from_property

_HEAD = ("scenario", "fault", "verdict", "points", "states", "note")


def print_summary(reporter: pytest.TerminalReporter, texts: Mapping[str, str]) -> None:
    """Print a line for each item, the commands that replay the failures, and the totals.

    Args:
        reporter: pytest's reporter.
        texts: the items' properties, by node id.
    """
    items = [from_property(texts[node]) for node in sorted(texts)]
    results = [result for result, _, _ in items]
    reporter.ensure_newline()  # else write_line breaks the first line that is written in parts
    reporter.section("outlive")
    rows = [_HEAD, *(_row(result, fault) for result, fault, _ in items)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    for number, row in enumerate(rows):
        name, fault, verdict, points, states, remark = (
            text.rjust(width) if head in ("points", "states") else text.ljust(width)
            for text, width, head in zip(row, widths, _HEAD, strict=True)
        )
        colour = {COLOURS[results[number - 1].verdict]: True} if number else {}
        reporter.write(f"{name}  {fault}  ")
        reporter.write(verdict, **colour)
        reporter.write_line(f"  {points}  {states}  {remark}".rstrip())
    replays = _replays(results)
    if replays:
        reporter.write_line("")
        there = reporter.config.rootpath
        if reporter.config.invocation_params.dir != there:
            reporter.write_line(f"to replay a failure, in {there}:")
        for line in replays:
            reporter.write_line(line)
    several = [coverage for result in results for coverage in result.faults.values()]
    reporter.write_line("")
    for line in not_judged(results):
        reporter.write_line(line)
    reporter.write_line(
        f"{verdict_line(results)}: {sum(one.tested for one in several)} crash points, "
        f"{sum(one.states for one in several)} states; --outlive-seed={items[0][2]}"
    )
    if github.is_here(os.environ):
        _report_to_github(reporter, RunResult(results, items[0][2], sum(one.seconds for one in results)))


def _report_to_github(reporter: pytest.TerminalReporter, result: RunResult) -> None:
    for line in github.commands(result):
        reporter.write_line(line)
    with contextlib.suppress(OSError):  # the log has everything
        github.append_summary(result, os.environ)


def _row(result: ScenarioResult, fault: str) -> tuple[str, ...]:
    return visible(result.name), fault, verdict_word(result), *counts(result), note(result)


def _replays(results: Iterable[ScenarioResult]) -> list[str]:
    """Return the replay commands: one for each violation."""
    failed = [result for result in results if result.verdict is Verdict.VIOLATED and not result.expected]
    lines = [replay_line(violation) for result in failed for violation in result.violations]
    return list(dict.fromkeys(line for line in lines if line))
