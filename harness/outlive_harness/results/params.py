"""Parameters of a scenario: each combination of their values is a scenario of its own.

Its id is made as pytest makes those of parametrised tests.

This module is imported in every run of a function scenario, so it imports next to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .keywords import KEYWORDS, Keyword
from .value_kinds import ScenarioError, argv, directory, is_generator, patterns, readers, sets, variables

#: Text of that length, and other than printable, is no part of an id.
_LONGEST = 64
#: Kinds of keywords in whose values ``{name}`` stands for a parameter.
_FILLED = (argv, directory, patterns, readers, sets, variables)


class Case(NamedTuple):
    """One combination: its id, the parameters' values, and marks of pytest."""

    id: str
    values: dict[str, Any]
    marks: tuple[Any, ...]


def cases(params: Mapping[str, Sequence[object]]) -> list[Case]:
    """Return all combinations; the last parameter changes fastest.

    Raises:
        ScenarioError: two combinations have one id.
    """
    found = [Case("", {}, ())]
    for key, values in params.items():
        ids = [(_id(key, number, value), value) for number, value in enumerate(values)]
        found = [
            Case(
                f"{case.id}-{name}" if case.values else name,
                {**case.values, key: _plain(value)},
                (*case.marks, *_marks(value)),
            )
            for case in found
            for name, value in ids
        ]
    seen: set[str] = set()
    for case in found:
        if case.id in seen:
            raise ScenarioError(
                f"params={dict(params)!r} must differ: two combinations have the id {case.id!r}"
            )
        seen.add(case.id)
    return found


def _is_set(value: Any) -> bool:  # noqa: ANN401 - anyone's
    """Return whether a value is a pytest.param(); pytest need not be installed."""
    return type(value).__name__ == "ParameterSet" and hasattr(value, "marks")


def _marks(value: Any) -> tuple[Any, ...]:  # noqa: ANN401 - anyone's
    marks = value.marks if _is_set(value) else ()
    return tuple(getattr(mark, "mark", mark) for mark in marks)


def _plain(value: Any) -> object:  # noqa: ANN401 - anyone's
    return value.values[0] if _is_set(value) else value


def _id(key: str, number: int, value: Any) -> str:  # noqa: ANN401 - anyone's
    """Return the part of an id that stands for a value: its text if it is plain, else its key and number."""
    if _is_set(value):
        return value.id if isinstance(value.id, str) else _id(key, number, _plain(value))
    if isinstance(value, str):
        return value if value.isprintable() and 0 < len(value) <= _LONGEST else f"{key}{number}"
    if value is None or isinstance(value, (bool, int, float, complex)):
        return str(value)
    name = getattr(value, "__name__", None)
    return name if isinstance(name, str) else f"{key}{number}"


def filled(values: Mapping[str, Any], given: Mapping[str, object]) -> dict[str, Any]:
    """Return the keywords in which ``{name}`` stands for a parameter, filled with the values of one case.

    Raises:
        ScenarioError: what a value makes of a keyword is not of the form that it should be.
    """
    mark = _mark(given)

    def fill(text: str) -> str:
        return mark.sub(lambda found: str(given[found[1]]), text)

    made: dict[str, Any] = {}
    for keyword, value in _fillable(values):
        if keyword.kind is readers:
            now: object = {fill(glob): reader for glob, reader in value}
        else:
            now = fill(value) if isinstance(value, str) else tuple(map(fill, value))
        made[keyword.name] = keyword.checked(now)
    return made


def _mark(names: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern of ``{name}``, for any of the names; ``${name}`` is a variable of a shell."""
    return re.compile(rf"(?<!\$)\{{({'|'.join(names)})\}}")


def _fillable(values: Mapping[str, Any]) -> Iterator[tuple[Keyword, Any]]:
    for keyword in KEYWORDS:
        value = values.get(keyword.name)
        if keyword.kind in _FILLED and value:
            yield keyword, value


def check_command(params: Mapping[str, object], values: Mapping[str, Any]) -> None:
    """Return if each parameter is named by a keyword of a command, or may be taken by one of its functions.

    Raises:
        ScenarioError: a parameter changes nothing.
    """
    if values["setup"] or values["check"]:
        return
    texts = [
        part if isinstance(part, str) else part[0]
        for _, value in _fillable(values)
        for part in ([value] if isinstance(value, str) else value)
    ]
    for key in params:
        if not any(map(_mark([key]).search, texts)):
            raise ScenarioError(
                f"params={params!r} must be used: no argument of the command has {{{key}}} in it"
            )


def check_body(body: Callable[..., object], params: Mapping[str, object]) -> None:
    """Return if a body can be called with the parameters, and if the call runs it.

    Raises:
        ScenarioError: an argument has no value, a parameter is no argument, or the body is a generator.
    """
    code = getattr(body, "__code__", None)
    called = getattr(body, "__name__", repr(body))
    if is_generator(body):
        raise ScenarioError(f"{called!r} has a yield in it, so a call of it runs nothing: take the yield out")
    if not params and (code is None or not code.co_argcount + code.co_kwonlyargcount):
        return
    taken, needed = _arguments(body)
    for key in params:
        if taken is not None and key not in taken:
            raise ScenarioError(
                f"params={params!r} must be arguments of the body: {called!r} takes no {key!r}"
            )
    for name in needed:
        if name not in params:
            raise ScenarioError(
                f"{called!r} takes the argument {name!r}, for which nothing gives a value: "
                f"name it in params={{{name!r}: [...]}}, or give it a default (a body gets no fixtures)"
            )


def taken_by(function: Callable[..., object], given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the first argument of a function that is no parameter, and the parameters that it takes.

    The argument is "" if there are no parameters, or if only its place tells it.
    """
    if not given:
        return "", {}
    taken, _ = _arguments(function)
    names = list(given if taken is None else taken)
    return next((name for name in names if name not in given), ""), {
        name: given[name] for name in names if name in given
    }


def _arguments(function: Callable[..., object]) -> tuple[list[str] | None, list[str]]:
    """Return the names of a function's arguments, None if it takes any, and those that need a value."""
    import inspect  # noqa: PLC0415 - slow to import, and most scenarios have no arguments

    try:
        several = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some builtins have no signature
        return None, []
    if any(one.kind is one.VAR_KEYWORD for one in several):
        taken = None
    else:
        taken = [one.name for one in several if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    named = [one for one in several if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    return taken, [one.name for one in named if one.default is one.empty]
