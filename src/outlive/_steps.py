"""A pipeline as a list of named steps, which goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Literal, NamedTuple

from ._atomic import shown
from ._checkpoints import Checkpoints

if TYPE_CHECKING:
    from typing import TypeAlias

    Function: TypeAlias = Callable[[], object]
    Steps: TypeAlias = Mapping[str, Function] | Iterable[Function | tuple[str, Function]]


class StepResult(NamedTuple):
    """What became of a step: it ran, or it was skipped because it was already done."""

    name: str
    outcome: Literal["ran", "skipped"]


def run_steps(
    steps: Steps,
    *,
    checkpoints: Checkpoints | None = None,
    report: Callable[[str], object] = print,
) -> list[StepResult]:
    """Run steps in order, mark each as it ends, and skip those that are marked already.

    A step that is stopped half-way runs again from its beginning, so each step must be one that may:
    it writes its outputs whole (`atomic_write`) and does not add to what an earlier attempt left.

    Args:
        steps: Functions without arguments, each named by its `__name__`, or pairs of a name and a
            function, or a mapping of names to functions. A name is what a step is known by when the
            pipeline runs again: to change it is to run the step once more.
        checkpoints: Where the marks are kept, and of which run; None is `Checkpoints()`, that is
            `.checkpoints` in the current directory and the run without an id.
        report: Called with one line for each step: `ran clean`, `skipped clean (already done)`.

    Returns:
        One result for each step, in order.

    Raises:
        TypeError: A step is not what it should be, and nothing ran; or a step gave back a coroutine or
            a generator, so that its body has not run, and it is not marked.
        ValueError: Two steps have one name; nothing ran.
        BaseException: Whatever a step raises, with a note that names the step. The steps before it stay
            marked.
    """
    named = _named(steps)
    if checkpoints is None:
        checkpoints = Checkpoints()
    elif not isinstance(checkpoints, Checkpoints):
        raise TypeError(f"checkpoints={shown(checkpoints)} is not an outlive.Checkpoints")
    results = []
    for name, step in named.items():
        skipped = checkpoints.step_done(name)
        if not skipped:
            _run(name, step, checkpoints)
        results.append(StepResult(name, "skipped" if skipped else "ran"))
        label = name if name.isprintable() else repr(name)
        report(f"skipped {label} (already done)" if skipped else f"ran {label}")
    return results


def _run(name: str, step: Function, checkpoints: Checkpoints) -> None:
    try:
        _check_finished(name, step())
        checkpoints.mark_done(name)
    except BaseException as error:
        error.add_note(f"in step {name!r}; the steps before it stay marked as done")
        raise


def _check_finished(name: str, result: object) -> None:
    """Refuse what an `async def` or a function with `yield` gives back: its body has not begun."""
    if isinstance(result, CoroutineType):
        result.close()  # or Python warns that it was never awaited
    if isinstance(result, CoroutineType | GeneratorType | AsyncGeneratorType):
        raise TypeError(f"step={name!r} gave back a {type(result).__name__}: its body has not run")


def _named(steps: object) -> dict[str, Function]:
    """Return the steps by name, in order, or refuse what cannot be run as it is given."""
    if not isinstance(steps, Iterable) or isinstance(steps, str | bytes):
        raise TypeError(f"steps={shown(steps)} is not a list of steps")
    named: dict[str, Function] = {}
    for index, step in enumerate(steps.items() if isinstance(steps, Mapping) else steps):
        where = f"steps[{index}]={shown(step)}"
        if isinstance(step, tuple) and len(step) == 2:
            name, function = step
        else:
            name, function = _own_name(step), step
        if not callable(function):
            raise TypeError(f"{where} is not a function, nor a pair of a name and a function")
        if not isinstance(name, str):
            raise TypeError(f"{where} has no name that is a string; give a pair of a name and a function")
        if name in named:
            raise ValueError(f"{where} has a name that an earlier step has: {name!r}")
        named[name] = function
    return named


def _own_name(function: object) -> str | None:
    # All lambdas are called "<lambda>": as the name of a checkpoint that would be an accident.
    name = getattr(function, "__name__", None)
    return None if name == "<lambda>" else name
