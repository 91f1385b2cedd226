"""What a step declares, and the order that follows from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import update_wrapper
from types import MethodType
from typing import TYPE_CHECKING, Any

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


class Step:
    """A function with what it declares: made by `step`, and called as the function is.

    Attributes:
        function: What is called.
        name: What the step is known by.
        inputs: The paths that it is made from; None if it declares none.
        outputs: The paths that it makes; None if it declares none.
        params: What the outputs depend on; None if it declares none.
        version: Of its code; None if it declares none.
        after: The steps that must come before it, as they were given.
        retry: How it is tried again; None if it is not.
    """

    def __init__(
        self,
        function: Callable[..., object],
        *,
        name: str | None = None,
        inputs: Paths | None = None,
        outputs: Paths | None = None,
        params: Mapping[str, object] | None = None,
        version: str | None = None,
        after: object = (),
        retry: Retry | None = None,
    ) -> None:
        if not callable(function):
            raise TypeError(f"function={shown(function)} is not a function")
        if isinstance(function, Step):
            raise TypeError(f"function={shown(function)} is a step already: declare all of it in one place")
        if retry is not None and not isinstance(retry, Retry):
            raise TypeError(f"retry={shown(retry)} is not an outlive.Retry")
        wished(None, None, params, version)
        update_wrapper(self, function)  # first: the function may have attributes of these names
        self.inputs, self.outputs = checked_paths("inputs", inputs), checked_paths("outputs", outputs)
        self.params, self.version, self.retry = params, version, retry
        self.after = tuple(_several(after))
        self.name = _own_name(function) if name is None else checked_string("name", name)
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - those of the function
        return self.function(*args, **kwargs)

    def renamed(self, name: str) -> Step:
        """Return the step under the name that it was given in a pipeline."""
        if name == self.name:
            return self
        declared = {key: getattr(self, key) for key in ("inputs", "outputs", "params", "version")}
        return Step(self.function, name=name, after=self.after, retry=self.retry, **declared)


def step(
    *,
    inputs: Paths | None = None,
    outputs: Paths | None = None,
    params: Mapping[str, object] | None = None,
    version: str | None = None,
    after: str | Function | Iterable[str | Function] = (),
    retry: Retry | None = None,
    name: str | None = None,
) -> Callable[[Callable[..., object]], Step]:
    """Declare what a step is made from and makes, for `run_steps`; the function is called as before.

    It is for functions: one that stands in a class does not become a method. Relative paths are those from
    where `run_steps` is called, also if a step changes the directory.

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
        TypeError: An argument is not of its kind.
        ValueError: A path is empty or no possible name.
    """
    declared: dict[str, Any] = {
        "name": name,
        "inputs": inputs,
        "outputs": outputs,
        "params": params,
        "version": version,
        "after": after,
        "retry": retry,
    }
    return lambda function: Step(function, **declared)


def named_steps(steps: object) -> dict[str, Step]:
    """Return steps by name, in their order, or refuse what cannot be run as it is given.

    Raises:
        TypeError: A step is not what it should be.
        ValueError: Two have one name.
    """
    if not isinstance(steps, Iterable) or isinstance(steps, str | bytes):
        raise TypeError(f"steps={shown(steps)} is not a list of steps")
    named: dict[str, Step] = {}
    for index, one in enumerate(steps.items() if isinstance(steps, Mapping) else steps):
        where = f"steps[{index}]={shown(one)}"
        name, function = one if isinstance(one, tuple) and len(one) == 2 else (_own_name(one), one)
        if not callable(function):
            raise TypeError(f"{where} is not a function, nor a pair of a name and a function")
        if not isinstance(name, str):
            raise TypeError(f"{where} has no name that is a string; give a pair of a name and a function")
        name = checked_string("name", name)
        if name in named:
            raise ValueError(f"{where} has a name that an earlier step has: {name!r}")
        named[name] = function.renamed(name) if isinstance(function, Step) else Step(function, name=name)
    return named


def told_before(named: Mapping[str, Step]) -> dict[str, list[str]]:
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
        for wanted in one.after:
            function = wanted.function if isinstance(wanted, Step) else wanted
            same = of_function.get(_identity(function), [])
            if not same and isinstance(wanted, str) and checked_string("after", wanted) in named:
                same = [checked_string("after", wanted)]
            if not same:
                raise ValueError(f"after={shown(wanted)} of step {name!r} is none of the steps")
            found[name] += same
    return found


def _identity(function: object) -> object:
    """Return what tells functions apart: each look at an object's method makes a new one."""
    if isinstance(function, MethodType):
        return id(function.__self__), id(function.__func__)
    return id(function)


def makers(named: Mapping[str, Step]) -> dict[str, list[str]]:
    """Return, for each step, those whose outputs it reads.

    An output that is a link is the link: what it leads to may be another step's, or an input of its own.

    Raises:
        ValueError: It reads what it makes, or two make one file, or one makes what is inside another's.
    """
    made, led_to = _Places(), _Places()
    for name, one in named.items():
        for path in one.outputs or ():
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
        for path in one.inputs or ():
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
    if isinstance(function, Step):
        return function.name
    name = getattr(function, "__name__", None)
    return None if name == "<lambda>" else name
