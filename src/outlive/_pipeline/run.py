"""`run_steps`: a pipeline as a list of named steps, which continues where it was stopped."""

from __future__ import annotations

import errno
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from outlive._checkpoints.checkpoints import Checkpoints
from outlive._checkpoints.declaration import RUNNING, RunningStep, declared, full_path, refuse_nesting
from outlive._checkpoints.store import UNMARKED
from outlive._system.arguments import shown

from .report import StepResult, explain, in_words, progress, refuse_unfinished, report_failure, report_result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .named import Named
    from .step import Step, Steps


def run_steps(
    steps: Steps,
    *,
    checkpoints: Checkpoints | None = None,
    report: Callable[[str], object] = print,
) -> list[StepResult]:
    """Run steps in order, mark each when it ends, and skip those that are done.

    A step that is stopped half-way runs again from its beginning. So each step must be repeatable: it writes
    its outputs whole (`atomic_write`) and does not add to what an earlier attempt left. If the mark of a step
    no longer counts, the mark and those of its items are forgotten before the step runs again.

    Steps that were declared with `step` run after those whose outputs they read, and are verified before they
    are skipped. Each step is also logged to the logger `outlive` (module logging) with the fields `step`,
    `outcome`, `reason` and `seconds`. On a terminal, a bar shows the progress if rich is installed.

    Args:
        steps: Functions without arguments, each named by its `__name__`, or pairs of a name and a function,
            or a mapping of names to functions. A step is known by its name when the pipeline runs again: a
            step with a new name runs once more. Steps run in the given order, unless inputs and outputs, or
            `after`, require another.
        checkpoints: The marks, and the run; None means `Checkpoints()`, which is `.checkpoints` in the
            current directory and the run without an id.
        report: A function that is called with one line for each step: `ran clean`, `skipped clean (already
            done)`, `ran clean (its input raw.csv has another content)`, `failed clean (OSError: disk full)`.

    Returns:
        One result for each step, in the order in which they ran.

    Raises:
        TypeError: A step has the wrong type, and nothing ran; or a step returned something that has not ended
            or not begun (a coroutine, a generator, a future, a `map`), and it is not marked.
        ValueError: Two steps have one name, or make one file; steps come after one another in a circle, or
            after one that is missing; or an input contains the checkpoints. Nothing ran.
        FileNotFoundError: An input of a step does not exist when the step is to run, or when it has run.
        RuntimeError: An input of a step changed while it ran, or an output while it was recorded, or an item
            of the step is pending; the step is not marked.
        BaseException: Whatever a step raises, with a note that names the step and those that did not run, and
            with the results in its attribute `outlive_results`. The steps before it stay marked.
    """
    if checkpoints is None:
        checkpoints = Checkpoints()
    elif not isinstance(checkpoints, Checkpoints):
        raise TypeError(f"checkpoints={shown(checkpoints)} is not an outlive.Checkpoints")
    from .named import named_steps  # noqa: PLC0415 - keeps `import outlive` light

    return _Pipeline(named_steps(steps), checkpoints, report).run()


class _Pipeline:
    """One call of `run_steps`."""

    def __init__(
        self, named: Mapping[str, Named], checkpoints: Checkpoints, report: Callable[[str], object]
    ) -> None:
        from .order import makers, named_before, ordered  # noqa: PLC0415 - keeps `import outlive` light

        self._named, self._checkpoints, self._report = named, checkpoints, report
        self._after, made_by = named_before(named), makers(named)
        self._order = ordered({name: [*self._after[name], *made_by[name]] for name in named})
        # The paths become absolute before a step changes the directory.
        self._declared = {name: _absolute(one.declared) for name, one in named.items()}
        inputs = [path for one in named.values() for path in one.declared.inputs or ()]
        refuse_nesting("inputs", inputs, checkpoints.directory)
        self._followers: dict[str, list[str]] = {}
        for later in self._order:
            for name in self._after[later]:
                self._followers.setdefault(name, []).append(later)
        self._outdated: dict[str, str] = {}  # the steps that must run again, with the reason
        self._results: list[StepResult] = []

    def run(self) -> list[StepResult]:
        """Run the steps that are not done."""
        with progress(self._order, self._report) as begin:
            for name in self._order:
                begin(name)
                started = time.monotonic()
                try:
                    reason = self._run_if_stale(name)
                except BaseException as error:
                    self._results.append(StepResult(name, "failed", in_words(error)))
                    explain(error, self._results, self._order)
                    report_failure(error, self._results[-1], self._report, started)
                    raise
                is_first = reason == UNMARKED.problem
                result = StepResult(name, "ran" if reason else "skipped", "" if is_first else reason)
                self._results.append(result)
                report_result(result, self._report, started)
        return self._results

    def _run_if_stale(self, name: str) -> str:
        """Run a step if it is not done, and return why."""
        reason = self._outdated.get(name) or self._checkpoints.why_stale(name, **self._declared[name])
        if not reason:
            return ""
        if all(one.outcome == "skipped" for one in self._results):
            self._prepare(name)
        if reason != UNMARKED.problem and name not in self._outdated:
            # Its items would be skipped although their outputs may be wrong; and its mark would be believed
            # if this run is killed and the next one declares what the mark records.
            self._checkpoints.clear(name)
        self._forget_followers(name)
        self._run(name)
        return reason

    def _prepare(self, name: str) -> None:
        """Learn, before the first step runs, which marked steps outside the pipeline come after a step.

        An earlier run may have been killed before the marks that it forgot were gone from the disk. A power
        cut must not bring such a mark back beside what is made now.
        """
        store = self._checkpoints._store  # noqa: SLF001 - of this library
        with suppress(FileNotFoundError):  # no step was ever marked
            store.settle(name)
        for follower in store.names():
            for before in store.look(follower).record.get("after", ()):
                if follower not in self._named:
                    self._followers.setdefault(before, []).append(follower)

    def _forget_followers(self, name: str) -> None:
        """Forget, before a step runs, the steps that must run again after it.

        After it has run would be too late: if this process were killed between the step's outputs and its
        mark, the next run would repeat the step, find its outputs unchanged, and not notice that its
        followers are older.

        Steps without a mark are forgotten too. They may have items; and a run that was killed while it forgot
        them may have done so in memory only, so that a power cut would bring the old mark back beside the new
        outputs.
        """
        for one in self._followers.get(name, ()):
            if one not in self._outdated:
                # A damaged mark counts as well; what a whole one vouches for does not matter.
                mark = self._checkpoints._store.look(one)  # noqa: SLF001 - of this library
                self._outdated[one] = f"{name} ran" if mark is not UNMARKED else ""
                self._checkpoints.clear(one)

    def _run(self, name: str) -> None:
        one, declaration = self._named[name], self._declared[name]
        inputs = declaration["inputs"] or ()
        states = _states(inputs)
        for path, state in zip(one.declared.inputs or (), states, strict=True):
            if state is None:
                message = (
                    f"inputs={path!r} of step {name!r} does not exist, and no step before it has made it"
                )
                raise FileNotFoundError(errno.ENOENT, message, path)
        input_states = dict(zip(inputs, states, strict=True))
        step = RunningStep(declared(**declaration), input_states, self._after[name], [])
        with _running(name, self._checkpoints, step):
            retry = one.declared.retry
            refuse_unfinished(name, one.function() if retry is None else retry.call(one.function))
            for items in step.items:
                items.refuse_pending()
            try:
                self._checkpoints.mark_done(name, **declaration)
            except RuntimeError:
                self._checkpoints.clear(name)  # some of its items may be made from the changed input
                raise


def _absolute(one: Step) -> dict[str, Any]:
    return {
        "inputs": None if one.inputs is None else list(map(full_path, one.inputs)),
        "outputs": None if one.outputs is None else list(map(full_path, one.outputs)),
        "params": one.params,
        "version": one.version,
    }


def _states(inputs: Sequence[str]) -> list[object]:
    """Return the states of inputs, to see later whether they changed; None for a missing input."""
    if not inputs:
        return []
    from outlive._checkpoints.file_facts import state  # noqa: PLC0415 - only for steps that declare files

    return [state(path) for path in inputs]


@contextmanager
def _running(name: str, checkpoints: Checkpoints, step: RunningStep) -> Iterator[None]:
    """Let the marks and items that are made in the body know what the step declares."""
    key = checkpoints.store, os.path.realpath(checkpoints.directory), checkpoints.run_id, name
    RUNNING[key] = step
    try:
        yield
    finally:
        RUNNING.pop(key, None)
