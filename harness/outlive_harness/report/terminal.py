"""The terminal: progress and violations during a run, and a table at its end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from outlive_harness.jobs.session import processors
from outlive_harness.results.plan import plan_text
from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import RunResult, ScenarioResult

from .escaped import visible
from .text import COLOURS, counts, details, note, verdict_line, verdict_word
from .unjudged import not_tried, not_tried_of_each

#: Columns of a log: wide enough for the table; its reader breaks longer lines.
_LOG_WIDTH = 140
#: Seconds of silence after which a log gets a line: a silent CI job looks hung.
_SILENCE = 30.0
#: How many violations of one scenario are shown while it is explored, and columns for each plan.
_NEWS, _NEWS_WIDTH = 5, 40
#: The name of the bar for all scenarios together; no scenario has it.
_ALL = ""
#: What is counted, where that is not crash points.
_COUNTED = {
    "judging": "parts of the recording",
    "confirming": "plans",
    "making smaller": "plans",
    "explaining": "runs",
}
#: On a terminal of fewer columns a bar is only a count.
_NARROW = 70


def console(*, stderr: bool = False) -> Console:
    """Return a console, plain if it is not a terminal, is a dumb one, or under CI or NO_COLOR."""
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    has_colour = (is_terminal and not _is_plain()) or os.environ.get("FORCE_COLOR")
    return Console(
        stderr=stderr,
        highlight=False,
        soft_wrap=True,  # a replay line must stay one line, to be pasted
        color_system="auto" if has_colour and not os.environ.get("NO_COLOR") else None,
        width=None if is_terminal else _LOG_WIDTH,
    )


def _is_plain() -> bool:
    """Return whether the environment asks for output without colours and bars."""
    return bool(
        os.environ.get("CI")
        or os.environ.get("NO_COLOR")
        or os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    )


class _Rate(ProgressColumn):
    """The recent number of points a second."""

    def render(self, task: Task) -> Text:
        return Text(
            f"{task.speed:.0f}/s" if task.speed and task.speed >= 1 else "", style="progress.data.speed"
        )


class Live:
    """An observer that shows progress: on a terminal a bar for each scenario, else a line at its end.

    Args:
        out: the console.
        total: how many scenarios there are.
        expected: names of known-bad scenarios, whose violations are no news.
    """

    def __init__(self, out: Console, total: int, *, expected: Collection[str] = ()) -> None:
        self._out = out
        self._total = total
        self._expected = frozenset(expected)
        self._done = 0
        self._spoke = time.monotonic()
        self._tasks: dict[str, TaskID] = {}
        self._seen: dict[str, dict[str, None]] = {}
        self._bar: Progress | None = None
        if out.is_terminal and out.file.isatty() and not _is_plain():
            self._bar = Progress(*_columns(out.width), console=out, transient=True)
            if total > 1:
                self._tasks[_ALL] = self._bar.add_task("scenarios", total=total)

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
        """Move the scenario's bar; print a line in a log that was silent for long."""
        if self._bar is not None:
            task, what = self._tasks[name], visible(f"{name} {fault}")
            if self._bar.tasks[self._bar.task_ids.index(task)].description != what:
                self._bar.reset(task, description=what, total=points)  # or it shows the last fault's rate
            self._bar.update(task, completed=tested, total=points)
        elif time.monotonic() - self._spoke > _SILENCE:
            seen = ", ".join(self._seen.get(name, ()))
            so_far = f"; so far: {seen}" if seen else ""
            counted = _COUNTED.get(fault, "points")
            self._say(Text(f"... {visible(name)} {fault}: {tested} of {points} {counted}{so_far}"))

    def found(self, name: str, trial: Trial) -> None:
        """Show a scenario's first violations while it is explored; a log gets them at its end."""
        if name in self._expected:
            return
        for what in self._news(name, trial):
            if self._bar is not None:
                line = Text(f"{visible(name)} ")
                line.append(what, style="red")
                self._say(line.append(f" at {plan_text(trial.plan)[:_NEWS_WIDTH]}; to be confirmed"))

    def _news(self, name: str, trial: Trial) -> list[str]:
        """Return what a trial shows that was not shown yet, unless enough was."""
        seen = self._seen.setdefault(name, {})
        found = dict.fromkeys(
            f"{one.kind} of {visible(one.path)}" if one.path else one.kind for one in trial.findings
        )
        fresh = [what for what in found if what not in seen][: max(0, _NEWS - len(seen))]
        seen.update(dict.fromkeys(fresh))
        return fresh

    def seen(self, name: str, trial: Trial) -> None:
        """Print at once what a recording shows, as its recovery may take long."""
        at = f" at {plan_text(trial.plan)[:_NEWS_WIDTH]}, in the recording; its recovery is tried first"
        for what in self._news(name, trial):
            self._say(Text.assemble(f"... {visible(name)} ", (what, "red"), at))

    def foretold(self, name: str, text: str) -> None:
        """Print what the scenario's trials will take."""
        self._say(Text(f"... {visible(name)} {text}"))

    def finished(self, result: ScenarioResult) -> None:
        """Print the scenario's verdict and violations."""
        if self._bar is not None and result.name in self._tasks:
            self._bar.remove_task(self._tasks.pop(result.name))
        self._done += 1
        if self._bar is not None and _ALL in self._tasks:
            self._bar.update(self._tasks[_ALL], completed=self._done)
        tested, states = counts(result)
        line = Text(f"[{self._done}/{self._total}] {visible(result.name)} ")
        line.append(verdict_word(result), style=COLOURS[result.verdict])
        line.append(f"  {tested} points, {states} states, {result.seconds:.1f} s")
        self._say(line)
        for text in details(result):
            self._say(Text("    " + text))

    def _say(self, line: Text) -> None:
        self._spoke = time.monotonic()
        self._out.print(line)


def _columns(width: int) -> list[ProgressColumn]:
    """Return the columns of a bar, as many as there is room for."""
    name = TextColumn("{task.description}", markup=False)
    count = MofNCompleteColumn()
    if width < _NARROW:
        return [name, count]
    return [name, BarColumn(), count, _Rate(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()]


def summary(out: Console, result: RunResult) -> None:
    """Print the closing table and one line with the verdict."""
    if result.scenarios:
        out.print()
        _table(out, result.scenarios)
    out.print()
    for line in not_tried_of_each(result.scenarios):
        out.print(Text(line))
    out.print(_total(result))


def _table(out: Console, results: list[ScenarioResult]) -> None:
    """Print a line for each scenario, or two if the terminal is too narrow for columns."""
    rows = [_HEAD, *(_row(one) for one in results)]
    styles = ["", *(COLOURS[one.verdict] for one in results)]
    widths = [min(_WIDEST, max(cell_len(row[i]) for row in rows)) for i in range(len(_HEAD) - 1)]
    is_narrow = sum(widths) + 2 * (len(widths) - 1) > out.width
    for row, style in zip(rows[is_narrow:], styles[is_narrow:], strict=True):
        name, verdict, *numbers, remark = row
        if is_narrow:
            counted = ", ".join(f"{number} {what}" for number, what in zip(numbers, _HEAD[2:-1], strict=True))
            out.print(Text.assemble(name, " ", (verdict, style)))
            out.print(Text(f"  {counted}" + f"; {remark}" * bool(remark)))
            continue
        line = Text.assemble(_padded(name, widths[0]), "  ", (_padded(verdict, widths[1]), style))
        for number, width in zip(numbers, widths[2:], strict=True):
            line.append(f"  {number:>{width}}")
        fits = line.cell_len + 2 + cell_len(remark) <= out.width
        line.append(f"  {remark}" if remark and fits else "")
        out.print(line)
        if remark and not fits:
            out.print(Text(f"    {remark}"))


_HEAD = ("scenario", "verdict", "ops", "points", "states", "seconds", "note")
#: The greatest width of a column; longer fields stick out.
_WIDEST = 40


def _row(one: ScenarioResult) -> tuple[str, ...]:
    tested, states = counts(one)
    return visible(one.name), verdict_word(one), str(one.ops), tested, states, f"{one.seconds:.1f}", note(one)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _total(result: RunResult) -> Text:
    coverages = [coverage for one in result.scenarios for coverage in one.faults.values()]
    tested, states = sum(one.tested for one in coverages), sum(one.states for one in coverages)
    rate = tested / result.seconds if result.seconds else 0.0
    line = Text(str(result.verdict), style=COLOURS[result.verdict])
    line = Text.assemble(line, f": {verdict_line(result.scenarios)}; {tested} crash points, {states} states")
    line.append(f" in {result.seconds:.1f} s, {rate:.0f} points a second; seed {result.seed}")
    line.append(f"; {result.workers} workers" if result.workers > processors() else "")
    missing = not_tried(result.scenarios)
    line.append(f"; faults not tried: {', '.join(missing)}" if missing else "")
    if result.interrupted:
        line.append("; interrupted")
    return line
