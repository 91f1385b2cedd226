"""What is reported of a pipeline: a line, a log record and a bar for each step, and notes on an error."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from types import CoroutineType
from typing import Any, Literal, NamedTuple


class StepResult(NamedTuple):
    """The result of a step.

    Attributes:
        name: The step's name.
        outcome: It ran, or was skipped because it was done, or failed.
        reason: The reason in words; "" if the step was skipped, or ran for the first time.
    """

    name: str
    outcome: Literal["ran", "skipped", "failed"]
    reason: str = ""

    def __str__(self) -> str:
        name = self.name if self.name.isprintable() else repr(self.name)
        reason = "already done" if self.outcome == "skipped" else self.reason
        return f"{self.outcome} {name}{f' ({reason})' if reason else ''}"


def report_result(result: StepResult, report: Callable[[str], object], started: float) -> None:
    """Log a result, and report it."""
    import logging  # noqa: PLC0415 - keeps `import outlive` light

    seconds = time.monotonic() - started
    fields = {"step": result.name, "outcome": result.outcome, "reason": result.reason, "seconds": seconds}
    logging.getLogger("outlive").info("%s in %.1f s", result, seconds, extra=fields)
    report(str(result))


def report_failure(
    error: BaseException, result: StepResult, report: Callable[[str], object], started: float
) -> None:
    """Report a step that failed. If that fails as well, the step's error is the one that is raised."""
    try:
        report_result(result, report, started)
    except Exception as another:  # noqa: BLE001 - whatever a report may raise
        error.add_note(f"the report of it failed as well ({in_words(another)})")


def explain(error: BaseException, results: list[StepResult], order: list[str]) -> None:
    """Attach the results to a step's error, and note which steps did not run."""
    vars(error)["outlive_results"] = results
    left = ", ".join(order[len(results) :])
    not_run = f"; not run: {left}" if left else ""
    error.add_note(f"in step {results[-1].name!r}; the steps before it stay marked as done{not_run}")


def in_words(error: BaseException) -> str:
    """Return the type of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def progress(order: list[str], report: object) -> Iterator[Callable[[str], object]]:
    """Show progress on a terminal, if rich is installed; yield a function to call with each step.

    The lines that steps print go above the bar. It is drawn when a step begins, and not by a thread: a step
    may fork.
    """
    bar: Any = None
    if report is print and _is_terminal():
        try:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415
        except ImportError:
            pass
        else:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
            bar = Progress(*columns, transient=True, auto_refresh=False)
    if bar is None:
        yield len
        return
    task = bar.add_task("", total=len(order))
    with bar:
        yield lambda name: bar.update(task, description=name, completed=order.index(name), refresh=True)


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def refuse_unfinished(name: str, result: object) -> None:
    """Refuse a result that has not run, or may still run: of `async def` or `yield`, a future, a `map`.

    Raises:
        TypeError: The step's work may not be done.
    """
    if isinstance(result, CoroutineType):
        result.close()  # or Python warns that it was never awaited
    if isinstance(result, Awaitable | Generator | AsyncGenerator | AsyncIterator):
        what = "its body has not run"
    elif isinstance(result, _future_type()):
        what = "it may not have ended; ask for its result in the step"
    elif isinstance(result, Iterator) and not hasattr(result, "close"):  # files and cursors are not lazy work
        what = "its work is done only when the result is iterated over"
    else:
        return
    raise TypeError(f"step={name!r} returned a {type(result).__name__}: {what}")


def _future_type() -> Any:  # noqa: ANN401 - a class, or none
    """Return concurrent.futures.Future, if any code has imported it."""
    return getattr(sys.modules.get("concurrent.futures._base"), "Future", ())
