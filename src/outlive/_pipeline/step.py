"""What a step declares: `step` notes it on the function, and a pipeline reads it from there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MethodType
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from outlive._checkpoints.declaration import checked_paths, declared
from outlive._system.arguments import checked_string, shown

from .retry import Retry

if TYPE_CHECKING:
    from typing import TypeAlias

    from outlive._checkpoints.declaration import Paths

    Function: TypeAlias = Callable[[], object]
    Steps: TypeAlias = Mapping[str, Function] | Iterable[Function | tuple[str, Function]]

_F = TypeVar("_F", bound=Callable[..., object])

_ATTRIBUTE = "outlive_step"


class Step(NamedTuple):
    """What `step` notes on a function, as its attribute `outlive_step`.

    Attributes:
        name: The step's name; None means the function's name.
        inputs: The paths that it reads; None if it declares none.
        outputs: The paths that it makes; None if it declares none.
        params: What the outputs depend on; None if it declares none.
        version: The version of its code; None if it declares none.
        after: The steps that must come before it, as they were given.
        retry: How it is retried; None if it is not.
    """

    name: str | None
    inputs: list[str] | None
    outputs: list[str] | None
    params: Mapping[str, object] | None
    version: str | None
    after: tuple[object, ...]
    retry: Retry | None


def step(
    *,
    inputs: Paths | None = None,
    outputs: Paths | None = None,
    params: Mapping[str, object] | None = None,
    version: str | None = None,
    after: str | Callable[..., object] | Iterable[str | Callable[..., object]] = (),
    retry: Retry | None = None,
    name: str | None = None,
) -> Callable[[_F], _F]:
    """Declare what a step reads and makes, for `run_steps`.

    The function itself is returned, with an attribute `outlive_step`: it is called, pickled and type-checked
    as before. A function that wraps it with `functools.wraps` inherits the declaration. Relative paths start
    from the directory in which `run_steps` is called, even if a step changes the directory.

    Args:
        inputs: The files or directories that the step reads, and does not change. It runs after the steps
            that make them, and again when one of them has changed. A link below a directory counts by its
            target's path, and not by what is there.
        outputs: The files or directories that the step makes. It runs again when one of them is not as it
            left it. If an output is a link, by which the step publishes what another one made, the link's
            target counts.
        params: What the outputs depend on, as JSON can hold it: the step runs again when that changes.
        version: The version of the step's own code, likewise.
        after: Steps, as functions or by name, that must come before this one for another reason than its
            inputs. Whenever one of them has run, this one runs again, even if that was in a pipeline without
            this one.
        retry: How the step is retried when it fails.
        name: The step's name; None means the function's name.

    Raises:
        TypeError: An argument has the wrong type; or the decorated object is not a function, is a step
            already, or cannot have attributes, such as a bound method.
        ValueError: A path is empty or an impossible name.
    """
    if retry is not None and not isinstance(retry, Retry):
        raise TypeError(f"retry={shown(retry)} is not an outlive.Retry")
    declared(None, None, params, version)
    declaration = Step(
        None if name is None else checked_string("name", name),
        checked_paths("inputs", inputs),
        checked_paths("outputs", outputs),
        params,
        version,
        tuple(_several(after)),
        retry,
    )
    return lambda function: _noted(function, declaration._replace())  # one for each function, as its identity


def _noted(function: _F, declaration: Step) -> _F:
    if not callable(function):
        raise TypeError(f"function={shown(function)} is not a function")
    if declaration_of(function) is not None:
        raise TypeError(f"function={shown(function)} is a step already: declare everything in one place")
    if isinstance(function, staticmethod | classmethod):  # callers get another object, without the attribute
        raise TypeError(f"function={shown(function)}: put @step below @{type(function).__name__}")
    try:
        setattr(function, _ATTRIBUTE, declaration)
    except (AttributeError, TypeError) as error:  # the latter for a builtin class
        message = f"function={shown(function)} cannot have attributes; declare functools.partial of it"
        raise TypeError(message) from error
    return function


def declaration_of(function: object) -> Step | None:
    """Return what `step` noted on a function; None if it did not."""
    found = getattr(function, _ATTRIBUTE, None)
    return found if isinstance(found, Step) else None


def identity(function: object) -> object:
    """Return what differs between functions: each access to a method of an object makes a new one.

    A function that wraps another has its declaration, and counts as the other.
    """
    if isinstance(function, MethodType):
        return id(function.__self__), id(function.__func__)
    declaration = declaration_of(function)
    return id(function if declaration is None else declaration)


def _several(after: object) -> Iterable[object]:
    if isinstance(after, str) or callable(after):
        return [after]
    if not isinstance(after, Iterable):
        raise TypeError(f"after={shown(after)} is neither a step, nor the name of one, nor a list of them")
    return after
