"""The steps that `run_steps` is given, by name. `import outlive` does not import this module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from outlive._system.arguments import checked_string, shown

from .step import Step, declaration_of

if TYPE_CHECKING:
    from .step import Function

#: The flags of a function whose call runs none of its body: CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR
#: (inspect).
_LAZY = 0x20 | 0x80 | 0x200
_UNDECLARED = Step(None, None, None, None, None, (), None)


class Named(NamedTuple):
    """A step of a pipeline, beside its name.

    Attributes:
        function: The function to call.
        declared: What the step declares.
    """

    function: Function
    declared: Step


def named_steps(steps: object) -> dict[str, Named]:
    """Return steps by name, in their order.

    Raises:
        TypeError: A step has the wrong type.
        ValueError: Two steps have one name.
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
        named[name] = Named(function, declaration_of(function) or _UNDECLARED)
    return named


def _is_lazy(function: object) -> bool:
    """Return whether a call of a function, a `partial` or an object runs none of the function's body."""
    while isinstance(function, partial):
        function = function.func
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return bool(getattr(code, "co_flags", 0) & _LAZY)


def _own_name(function: object) -> Any:  # noqa: ANN401 - a name may be of any type
    # All lambdas are called "<lambda>", which as the name of a checkpoint would be an accident.
    declaration = declaration_of(function)
    if declaration is not None and declaration.name is not None:
        return declaration.name
    name = getattr(function, "__name__", None)
    return None if name == "<lambda>" else name
