"""A pipeline as a list of named steps, which goes on where it was stopped."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ._checkpoints import Checkpoints
from ._claims import UNDER_WAY, UnderWay, refuse_nesting, whole, wished
from ._place import shown
from ._step import makers, named_steps, ordered, told_before
from ._stores import UNMARKED

if TYPE_CHECKING:
    from ._step import Named, Step, Steps


class StepResult(NamedTuple):
    """What became of a step.

    Attributes:
        name: The step's.
        outcome: It ran, or was skipped because it was done already, or failed.
        reason: Why, in words; "" where a step was skipped because it was done, or ran for the first time.
    """

    name: str
    outcome: Literal["ran", "skipped", "failed"]
    reason: str = ""

    def __str__(self) -> str:
        name = self.name if self.name.isprintable() else repr(self.name)
        reason = "already done" if self.outcome == "skipped" else self.reason
        return f"{self.outcome} {name}{f' ({reason})' if reason else ''}"


def run_steps(
    steps: Steps,
    *,
    checkpoints: Checkpoints | None = None,
    report: Callable[[str], object] = print,
) -> list[StepResult]:
    """Run steps in order, mark each as it ends, and skip those that are marked already.

    A step that is stopped half-way runs again from its beginning, so each step must be one that may:
    it writes its outputs whole (`atomic_write`) and does not add to what an earlier attempt left.
    A step that runs again because its mark does not hold any more is forgotten before, with its items.

    Steps that were declared by `step` run after those whose outputs they read, and are verified before they
    are skipped. Each is also logged to `outlive` (module logging) with the fields `step`, `outcome`, `reason`
    and `seconds`. On a terminal, where rich is installed, a bar shows how far the pipeline is.

    Args:
        steps: Functions without arguments, each named by its `__name__`, or pairs of a name and a
            function, or a mapping of names to functions. A name is what a step is known by when the
            pipeline runs again: to change it is to run the step once more. They run as they are given,
            except where inputs and outputs, or `after`, ask for another order.
        checkpoints: Where the marks are kept, and of which run; None is `Checkpoints()`, that is
            `.checkpoints` in the current directory and the run without an id.
        report: Called with one line for each step: `ran clean`, `skipped clean (already done)`,
            `ran clean (its input raw.csv has another content)`, `failed clean (OSError: disk full)`.

    Returns:
        One result for each step, in the order in which they ran.

    Raises:
        TypeError: A step is not what it should be, and nothing ran; or a step gave back what has not ended,
            or has not begun (a coroutine, a generator, a future, a `map`), and it is not marked.
        ValueError: Two steps have one name, or make one file, or come after one another in a circle, or
            after one that is not there, or the checkpoints lie inside an input; nothing ran.
        FileNotFoundError: An input of a step is not there when it is to run, or is gone when it has run.
        RuntimeError: An input of a step was changed while it ran, or an output while it was recorded, and the
            step is not marked.
        BaseException: Whatever a step raises, with a note that names the step and those that did not run, and
            with the results in its attribute `outlive_results`. The steps before it stay marked.
    """
    if checkpoints is None:
        checkpoints = Checkpoints()
    elif not isinstance(checkpoints, Checkpoints):
        raise TypeError(f"checkpoints={shown(checkpoints)} is not an outlive.Checkpoints")
    named = named_steps(steps)
    told, made_by = told_before(named), makers(named)
    order = ordered({name: [*told[name], *made_by[name]] for name in named})
    # The paths are made whole before a step changes the directory.
    declared = {name: _declared(one.declared) for name, one in named.items()}
    inputs = [path for one in named.values() for path in one.declared.inputs or ()]
    refuse_nesting("inputs", inputs, checkpoints.directory)
    followers: dict[str, list[str]] = {}
    for later in order:
        for name in told[later]:
            followers.setdefault(name, []).append(later)
    results: list[StepResult] = []
    outdated: dict[str, str] = {}
    with _progress(order, report) as begin:
        for name in order:
            begin(name)
            started = time.monotonic()
            try:
                reason = outdated.get(name) or checkpoints.doubt(name, **declared[name])
                if reason:
                    if all(one.outcome == "skipped" for one in results):
                        _begin(name, checkpoints, followers, named)
                    if reason != UNMARKED.doubt and name not in outdated:
                        # Its items would be skipped, whatever is wrong with what they made; and its mark
                        # believed, if this run is killed and the next one declares what it says.
                        checkpoints.clear(name)
                    _forget_later(name, followers.get(name, ()), checkpoints, outdated)
                    _run(named[name], checkpoints, declared[name], told[name])
            except BaseException as error:
                results.append(StepResult(name, "failed", _in_words(error)))
                _explain(error, results, order)
                _tell_of(error, results[-1], report, started)
                raise
            first = reason == UNMARKED.doubt
            results.append(StepResult(name, "ran" if reason else "skipped", "" if first else reason))
            _tell(results[-1], report, started)
    return results


def _declared(one: Step) -> dict[str, Any]:
    return {
        "inputs": None if one.inputs is None else list(map(whole, one.inputs)),
        "outputs": None if one.outputs is None else list(map(whole, one.outputs)),
        "params": one.params,
        "version": one.version,
    }


def _begin(
    name: str, checkpoints: Checkpoints, followers: dict[str, list[str]], named: Mapping[str, Named]
) -> None:
    """Learn, before the first step runs, what earlier runs left: who comes after a step and is not here.

    What they forgot may be known to the kernel alone, if they were killed then. No power cut is to bring a
    mark back beside what is made now.
    """
    checkpoints.settle(name)
    for before, several in checkpoints.marked_after().items():
        followers.setdefault(before, []).extend(one for one in several if one not in named)


def _forget_later(
    name: str, later: Iterable[str], checkpoints: Checkpoints, outdated: dict[str, str]
) -> None:
    """Forget, before a step runs, those that must run again after it.

    Not when it has run: killed between its outputs and its mark, the next run would do it again, find its
    outputs as they were, and never know that what came after them is older.

    What has no mark is forgotten too. It may have items; and a run that was killed while it forgot may have
    left that to the kernel, so that a power cut would bring the old mark back beside this step's new one.
    """
    for one in later:
        if one not in outdated:
            # A damaged one is a mark, too; what a whole one vouches for does not matter.
            has_mark = checkpoints.marked(one) or checkpoints.doubt(one) != UNMARKED.doubt
            outdated[one] = f"{name} ran" if has_mark else ""
            checkpoints.clear(one)


def _run(one: Named, checkpoints: Checkpoints, declared: dict[str, Any], after: list[str]) -> None:
    name, inputs = one.name, declared["inputs"] or ()
    states = _states(inputs)
    for path, state in zip(one.declared.inputs or (), states, strict=True):
        if state is None:
            message = f"inputs={path!r} of step {name!r} is not there, and no step before it has made it"
            raise FileNotFoundError(errno.ENOENT, message, path)
    step = UnderWay(wished(**declared), dict(zip(inputs, states, strict=True)), after, [])
    with _under_way(name, checkpoints, step):
        retry = one.declared.retry
        _check_finished(name, one.function() if retry is None else retry.call(one.function))
        for items in step.items:
            items.refuse_pending()
        try:
            checkpoints.mark_done(name, **declared)
        except RuntimeError:
            checkpoints.clear(name)  # its items: some may be made from what the input is now
            raise


def _states(inputs: Sequence[str]) -> list[object]:
    """Return what tells whether inputs were changed; None of what is not there."""
    if not inputs:
        return []
    from ._outputs import state  # noqa: PLC0415 - for those who declare files

    return [state(path) for path in inputs]


@contextmanager
def _under_way(name: str, checkpoints: Checkpoints, step: UnderWay) -> Iterator[None]:
    """Let marks and items that are made in the body know what the step declares."""
    key = checkpoints.store, os.path.realpath(checkpoints.directory), checkpoints.run_id, name
    UNDER_WAY[key] = step
    try:
        yield
    finally:
        UNDER_WAY.pop(key, None)


def _tell(result: StepResult, report: Callable[[str], object], started: float) -> None:
    import logging  # noqa: PLC0415 - keeps `import outlive` light

    seconds = time.monotonic() - started
    fields = {"step": result.name, "outcome": result.outcome, "reason": result.reason, "seconds": seconds}
    logging.getLogger("outlive").info("%s in %.1f s", result, seconds, extra=fields)
    report(str(result))


def _tell_of(
    error: BaseException, result: StepResult, report: Callable[[str], object], started: float
) -> None:
    """Tell of a step that failed; if that fails as well, the step's error is the one that counts."""
    try:
        _tell(result, report, started)
    except Exception as another:  # noqa: BLE001 - whatever a report may raise
        error.add_note(f"to report it failed as well ({_in_words(another)})")


def _explain(error: BaseException, results: list[StepResult], order: list[str]) -> None:
    vars(error)["outlive_results"] = results
    left = ", ".join(order[len(results) :])
    not_run = f"; not run: {left}" if left else ""
    error.add_note(f"in step {results[-1].name!r}; the steps before it stay marked as done{not_run}")


def _in_words(error: BaseException) -> str:
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


@contextmanager
def _progress(order: list[str], report: object) -> Iterator[Callable[[str], object]]:
    """Show how far a pipeline is, on a terminal, where there is rich; give what is called with each step.

    What steps print goes above the bar. It is drawn when a step begins, by no thread: a step may fork.
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


def _check_finished(name: str, result: object) -> None:
    """Refuse what is still to run, or may be running: of an `async def` or `yield`, a future, a `map`."""
    if isinstance(result, CoroutineType):
        result.close()  # or Python warns that it was never awaited
    if isinstance(result, Awaitable | Generator | AsyncGenerator | AsyncIterator):
        what = "its body has not run"
    elif isinstance(result, _future_type()):
        what = "it may not have ended; ask for its result in the step"
    elif isinstance(result, Iterator) and not hasattr(result, "close"):  # a file or a cursor is no lazy work
        what = "what it is to do is not done before somebody iterates over it"
    else:
        return
    raise TypeError(f"step={name!r} gave back a {type(result).__name__}: {what}")


def _future_type() -> Any:  # noqa: ANN401 - a class, or none
    """Return concurrent.futures.Future, if anybody has imported it."""
    return getattr(sys.modules.get("concurrent.futures._base"), "Future", ())
