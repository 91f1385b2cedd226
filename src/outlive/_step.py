"""What a step declares, and the order that follows from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ._claims import checked_paths, whole, wished
from ._place import shown
from ._retry import Retry
from ._stores import checked_string

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    from ._claims import Paths

    Function: TypeAlias = Callable[[], object]
    Steps: TypeAlias = Mapping[str, Function] | Iterable[Function | tuple[str, Function]]

_F = TypeVar("_F", bound=Callable[..., object])

_ATTRIBUTE = "outlive_step"
#: Of a function whose call runs none of its body: CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR (inspect).
_LAZY = 0x20 | 0x80 | 0x200


class Step(NamedTuple):
    """What `step` notes on a function, as its attribute `outlive_step`.

    Attributes:
        name: What the step is known by; None is the function's name.
        inputs: The paths that it is made from; None if it declares none.
        outputs: The paths that it makes; None if it declares none.
        params: What the outputs depend on; None if it declares none.
        version: Of its code; None if it declares none.
        after: The steps that must come before it, as they were given.
        retry: How it is tried again; None if it is not.
    """

    name: str | None
    inputs: list[str] | None
    outputs: list[str] | None
    params: Mapping[str, object] | None
    version: str | None
    after: tuple[object, ...]
    retry: Retry | None


_UNDECLARED = Step(None, None, None, None, None, (), None)


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
    """Declare what a step is made from and makes, for `run_steps`.

    The function itself is returned, with an attribute `outlive_step`: it is called, pickled and type-checked
    as before. A function that wraps it by `functools.wraps` takes the declaration over. Relative paths are
    those from where `run_steps` is called, also if a step changes the directory.

    Args:
        inputs: The files or directories that it reads, and does not change. It comes after the steps whose
            outputs they are, and runs again when one of them is another than it was. Of a link that is below
            a directory it counts where it leads, not what is there.
        outputs: The files or directories that it makes. It runs again when one of them is not as it left it;
            one that is a link, by which it publishes what another step made, is what that leads to.
        params: What the outputs depend on, as JSON can hold it: it runs again when that changes.
        version: Of the step's own code, likewise.
        after: Steps, as they are or by name, that must come before it for another reason than its inputs.
            Whenever one of them has run, this one runs again, also if that was in a pipeline without it.
        retry: How the step is tried again when it fails.
        name: What the step is known by; None is the function's name.

    Raises:
        TypeError: An argument is not of its kind; or what is decorated is no function, is a step already, or
            takes no attribute, as a bound method.
        ValueError: A path is empty or no possible name.
    """
    if retry is not None and not isinstance(retry, Retry):
        raise TypeError(f"retry={shown(retry)} is not an outlive.Retry")
    wished(None, None, params, version)
    declared = Step(
        None if name is None else checked_string("name", name),
        checked_paths("inputs", inputs),
        checked_paths("outputs", outputs),
        params,
        version,
        tuple(_several(after)),
        retry,
    )

    def note(function: _F) -> _F:
        if not callable(function):
            raise TypeError(f"function={shown(function)} is not a function")
        if declaration_of(function) is not None:
            raise TypeError(f"function={shown(function)} is a step already: declare all of it in one place")
        if isinstance(
            function, staticmethod | classmethod
        ):  # what they give to callers has no such attribute
            raise TypeError(f"function={shown(function)}: put @step below @{type(function).__name__}")
        try:
            setattr(function, _ATTRIBUTE, declared._replace())  # one for each function, by which it is known
        except (AttributeError, TypeError) as error:  # the latter is of a builtin class
            message = f"function={shown(function)} takes no attribute; declare functools.partial of it"
            raise TypeError(message) from error
        return function

    return note


def declaration_of(function: object) -> Step | None:
    """Return what `step` noted on a function; None if it is none of its."""
    found = getattr(function, _ATTRIBUTE, None)
    return found if isinstance(found, Step) else None


class Named(NamedTuple):
    """A step of a pipeline.

    Attributes:
        name: What it is known by.
        function: What is called.
        declared: What it declares.
    """

    name: str
    function: Function
    declared: Step


def named_steps(steps: object) -> dict[str, Named]:
    """Return steps by name, in their order, or refuse what cannot be run as it is given.

    Raises:
        TypeError: A step is not what it should be.
        ValueError: Two have one name.
    """
    if not isinstance(steps, Iterable) or isinstance(steps, str | bytes):
        raise TypeError(f"steps={shown(steps)} is not a list of steps")
    named: dict[str, Named] = {}
    for index, one in enumerate(steps.items() if isinstance(steps, Mapping) else steps):
        where = f"steps[{index}]={shown(one)}"
        name, function = one if isinstance(one, tuple) and len(one) == 2 else (_own_name(one), one)
        if not callable(function):
            raise TypeError(f"{where} is not a function, nor a pair of a name and a function")
        if _is_lazy(function):
            raise TypeError(f"{where} is async or a generator: its call runs none of its body")
        if not isinstance(name, str):
            raise TypeError(f"{where} has no name that is a string; give a pair of a name and a function")
        name = checked_string("name", name)
        if name in named:
            raise ValueError(f"{where} has a name that an earlier step has: {name!r}")
        named[name] = Named(name, function, declaration_of(function) or _UNDECLARED)
    return named


def _is_lazy(function: object) -> bool:
    """Return whether a call of a function, a `partial` or an object runs none of the function's body."""
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return bool(getattr(code, "co_flags", 0) & _LAZY)


def told_before(named: Mapping[str, Named]) -> dict[str, list[str]]:
    """Return, for each step, those that it says it comes after.

    Raises:
        ValueError: One is none of the steps.
    """
    of_function: dict[object, list[str]] = {}
    for name, one in named.items():
        of_function.setdefault(_identity(one.function), []).append(name)
    found: dict[str, list[str]] = {}
    for name, one in named.items():
        found[name] = []
        for wanted in one.declared.after:
            same = of_function.get(_identity(wanted), [])
            if not same and isinstance(wanted, str) and checked_string("after", wanted) in named:
                same = [checked_string("after", wanted)]
            if not same:
                raise ValueError(f"after={shown(wanted)} of step {name!r} is none of the steps")
            found[name] += same
    return found


def _identity(function: object) -> object:
    """Return what differs between functions: each look at an object's method makes a new one.

    A function that wraps another has its declaration, and counts as that.
    """
    if isinstance(function, MethodType):
        return id(function.__self__), id(function.__func__)
    declared = declaration_of(function)
    return id(function if declared is None else declared)


def makers(named: Mapping[str, Named]) -> dict[str, list[str]]:
    """Return, for each step, those whose outputs it reads.

    An output that is a link is the link: what it leads to may be another step's, or an input of its own.

    Raises:
        ValueError: It reads what it makes, or two make one file, or one makes what is inside another's.
    """
    made, led_to = _Places(), _Places()
    for name, one in named.items():
        for path in one.declared.outputs or ():
            directory, last = os.path.split(whole(path))
            place = os.path.join(os.path.realpath(directory), last)
            for other, other_path in made.overlapping(place):
                raise ValueError(
                    f"outputs={path!r} of step {name!r} and outputs={other_path!r} of step {other!r} are "
                    "one, or one is inside the other: each would undo what the other made"
                )
            made.add(place, (name, path))
            if os.path.islink(place):
                led_to.add(os.path.realpath(place), (name, path))
    found: dict[str, list[str]] = {}
    for name, one in named.items():
        found[name] = []
        for path in one.declared.inputs or ():
            found[name] += _read_from(path, made) or [
                other for other, _ in led_to.overlapping(os.path.realpath(path)) if other != name
            ]
            if name in found[name]:
                raise ValueError(f"inputs={path!r} of step {name!r} is what it makes: it would never be done")
    return found


def _read_from(path: str, made: _Places) -> list[str]:
    """Return the steps that make an input, or a link on the way to it."""
    from ._outputs import links  # noqa: PLC0415 - for those who declare files

    where = os.path.realpath(path)
    return [maker for place in (where, *links(path, where)) for maker, _ in made.overlapping(place)]


class _Places:
    """Real paths of what is made, each with its step and how that names it."""

    def __init__(self) -> None:
        self._at: dict[str, tuple[int, str, str]] = {}
        self._inside: dict[str, list[str]] = {}

    def add(self, place: str, made: tuple[str, str]) -> None:
        """Add one, which overlaps with no other."""
        self._at[place] = len(self._at), *made
        for above in _above(place):
            self._inside.setdefault(above, []).append(place)

    def overlapping(self, place: str) -> list[tuple[str, str]]:
        """Return those that are at a path, above it or inside it, in the order in which they were added."""
        found = [one for one in (place, *_above(place), *self._inside.get(place, ())) if one in self._at]
        return [(name, path) for _, name, path in sorted(self._at[one] for one in found)]


def _above(place: str) -> Iterator[str]:
    """Yield the directories that a real path is in, from the lowest up."""
    while (above := os.path.dirname(place)) != place:
        yield above
        place = above


def ordered(before: Mapping[str, Iterable[str]]) -> list[str]:
    """Return names, each after those before it, and otherwise as they are given.

    Raises:
        ValueError: They go round in a circle.
    """
    from heapq import heappop, heappush  # noqa: PLC0415 - keeps `import outlive` light

    names = list(before)
    waits_for = [set(before[name]) for name in names]
    followers: dict[str, list[int]] = {}
    for number, others in enumerate(waits_for):
        for other in others:
            followers.setdefault(other, []).append(number)
    ready = [number for number, others in enumerate(waits_for) if not others]  # a heap: it is sorted
    order: list[str] = []
    while ready:
        name = names[heappop(ready)]
        order.append(name)
        for number in followers.get(name, ()):
            waits_for[number].discard(name)
            if not waits_for[number]:
                heappush(ready, number)
    if len(order) < len(names):
        left = [name for name, others in zip(names, waits_for, strict=True) if others]
        raise ValueError(f"steps come after one another in a circle: {_circle(before, left)}")
    return order


def _circle(before: Mapping[str, Iterable[str]], left: list[str]) -> str:
    path = [left[0]]
    while path[-1] not in path[:-1]:
        path.append(next(other for other in before[path[-1]] if other in left))
    return " after ".join(path[path.index(path[-1]) :])


def _several(after: object) -> Iterable[object]:
    if isinstance(after, str) or callable(after):
        return [after]
    if not isinstance(after, Iterable):
        raise TypeError(f"after={shown(after)} is no step, no name of one, and no list of them")
    return after


def _own_name(function: object) -> Any:  # noqa: ANN401 - whatever somebody calls a name
    # All lambdas are called "<lambda>": as the name of a checkpoint that would be an accident.
    declared = declaration_of(function)
    if declared is not None and declared.name is not None:
        return declared.name
    name = getattr(function, "__name__", None)
    return None if name == "<lambda>" else name
