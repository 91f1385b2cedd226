"""The terminal: progress while it runs, violations as they come, and a table at the end."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from outlive_harness.explore.results import RunResult, ScenarioResult, Verdict

from .text import counts, explain, verdict_word, visible, visible_lines

_COLOURS = {Verdict.HELD: "green", Verdict.VIOLATED: "red", Verdict.UNKNOWN: "yellow"}


def console(*, stderr: bool = False) -> Console:
    """Make a console that is plain where nobody looks: no terminal, NO_COLOR, a dumb terminal."""
    # Wide lines of a log are better broken by its reader than by us.
    made = Console(stderr=stderr, highlight=False, soft_wrap=True)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, soft_wrap=True, width=140)


class Live:
    """An observer that shows progress: a bar for each scenario on a terminal, else a line at its end."""

    def __init__(self, out: Console, total: int) -> None:
        self._out = out
        self._total = total
        self._done = 0
        self._tasks: dict[str, TaskID] = {}
        self._bar: Progress | None = None
        if out.is_terminal and not out.is_dumb_terminal and not os.environ.get("CI"):
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=out,
                transient=True,
            )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def started(self, name: str) -> None:
        """Show the scenario while its golden runs are recorded."""
        if self._bar is not None:
            self._tasks[name] = self._bar.add_task(visible(f"{name} golden run"), total=None)

    def progressed(self, name: str, fault: str, tested: int, points: int) -> None:
        """Move the scenario's bar."""
        if self._bar is not None:
            task = self._tasks[name]
            self._bar.update(task, description=visible(f"{name} {fault}"), completed=tested, total=points)

    def finished(self, result: ScenarioResult) -> None:
        """Say the scenario's verdict, and what violates it."""
        if self._bar is not None and result.name in self._tasks:
            self._bar.remove_task(self._tasks.pop(result.name))
        self._done += 1
        tested, states = counts(result)
        line = Text(f"[{self._done}/{self._total}] {visible(result.name)} ")
        line.append(verdict_word(result), style=_COLOURS[result.verdict])
        line.append(f"  {tested} points, {states} states, {result.seconds:.1f} s")
        self._out.print(line)
        for text in details(result):
            self._out.print(Text("    " + text))


def details(result: ScenarioResult) -> list[str]:
    """Return what a person needs to know of a scenario beyond its verdict."""
    lines: list[str] = []
    if result.expected and result.verdict is Verdict.HELD:
        return lines  # a known-bad pipeline that was caught: its violations are no news
    if result.reason and (result.verdict is Verdict.UNKNOWN or not result.violations):
        lines += visible_lines(result.reason)
    for violation in result.violations:
        lines += explain(violation)
    return lines + [f"warning: {visible(warning)}" for warning in _shortened(result.warnings)]


def _shortened(warnings: list[str]) -> list[str]:
    """Keep the first few warnings of a kind: temporary files come by the dozen."""
    shown = warnings if len(warnings) <= 4 else [*warnings[:3], f"{len(warnings) - 3} more like these"]
    return list(shown)


def summary(out: Console, result: RunResult) -> None:
    """Print the closing table and one line with the verdict."""
    table = Table(box=None, pad_edge=False, show_edge=False)
    for column in ("scenario", "verdict"):
        table.add_column(column, overflow="fold")
    for column in ("ops", "points", "states", "seconds"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in result.scenarios:
        tested, states = counts(one)
        verdict = Text(verdict_word(one), style=_COLOURS[one.verdict])
        table.add_row(Text(visible(one.name)), verdict, str(one.ops), tested, states, f"{one.seconds:.1f}")
    out.print()
    out.print(table)
    coverages = [coverage for one in result.scenarios for coverage in one.faults.values()]
    total, distinct = sum(c.tested for c in coverages), sum(c.states for c in coverages)
    rate = total / result.seconds if result.seconds else 0.0
    several = [one.verdict for one in result.scenarios]
    parts = [f"{several.count(verdict)} {verdict}" for verdict in Verdict if verdict in several]
    line = Text(f"\n{', '.join(parts) or 'no scenarios'}: ")
    line.append(
        f"{total} crash points, {distinct} states in {result.seconds:.1f} s ({rate:.0f} points a second)"
    )
    line.append(f"; seed {result.seed}")
    if result.interrupted:
        line.append("; interrupted")
    out.print(line)
