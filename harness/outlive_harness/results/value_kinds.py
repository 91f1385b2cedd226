"""The kinds of values that keywords of scenario() take: each a function that checks a value and returns it.

The messages of their errors begin with the keyword's name and the value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from .globs import matcher
from .instants import DEFAULT, canonical
from .reader_names import split, steps_of
from .violations import VIOLATIONS


class ScenarioError(ValueError):
    """A scenario that cannot be run as it is declared; the message says what is wrong, and where."""


def text(key: str, value: object) -> str:
    """Return a value that must be a string."""
    if not isinstance(value, str):
        raise ScenarioError(f"{key}={value!r} must be a string")
    return value


def strings(key: str, value: object) -> tuple[str, ...]:
    """Return one or several strings as a tuple; an empty string stands for none."""
    if isinstance(value, str):
        return (value,) if value else ()
    if not isinstance(value, Iterable):
        raise ScenarioError(f"{key}={value!r} must be a string or several")
    parts = tuple(value)
    for part in parts:
        if not isinstance(part, str):
            raise ScenarioError(f"{key}={part!r} must be a string or several")
    return parts


def listed(key: str, value: object) -> tuple[str, ...]:
    """Return names as a tuple: they are given as several strings, or with commas between them.

    Blanks and repetitions do not count.
    """
    parts = strings(key, value)
    names = tuple(dict.fromkeys(name.strip() for part in parts for name in part.split(",") if name.strip()))
    if parts and not names:
        raise ScenarioError(f"{key}={value!r} must name at least one, as 'NAME' or 'NAME,NAME'")
    return names


def faults(key: str, value: object) -> tuple[str, ...] | None:
    """Return names of faults as a tuple, or None; whether there are such faults is checked later."""
    return None if value is None else listed(key, value)


def violations(key: str, value: object) -> tuple[str, ...]:
    """Return kinds of violations as a tuple."""
    kinds = listed(key, value)
    for kind in kinds:
        if kind not in VIOLATIONS:
            raise ScenarioError(f"{key}={kind!r} is not a violation; there are: {', '.join(VIOLATIONS)}")
    return kinds


def patterns(key: str, value: object) -> tuple[str, ...]:
    """Return path patterns as a tuple; each must be one that can match a path of the box."""
    parts = strings(key, value)
    for part in parts:
        if not part or part.startswith("/") or ".." in part.split("/"):
            raise ScenarioError(f"{key}={part!r} must be a pattern of paths relative to the box, as out/**")
        try:
            matcher([part])
        except re.error as error:
            raise ScenarioError(f"{key}={part!r} is not a pattern: {error}") from error
    return parts


def readers(key: str, value: object) -> tuple[tuple[str, object], ...]:
    """Return readers as pairs of a pattern and a reader: the name of a built-in one, or a function."""
    if isinstance(value, Mapping):
        pairs = list(value.items())
    else:
        pairs = []
        for part in strings(key, value):
            try:
                pairs.append(split(part))
            except ValueError as error:
                raise ScenarioError(f"{key}={part!r}: {error}") from error
    for glob, reader in pairs:
        patterns(key, glob)
        if callable(reader):
            continue
        try:
            steps_of(text(key, reader))
        except ValueError as error:
            raise ScenarioError(f"{key}={{{glob!r}: {reader!r}}}: {error}") from error
    return tuple(pairs)


def path(key: str, value: object) -> str:
    """Return a string or a path as a string."""
    if isinstance(value, (str, os.PathLike)):
        plain = os.fspath(value)
        if isinstance(plain, str):
            return plain
    raise ScenarioError(f"{key}={value!r} must be a string or a path")


def directory(key: str, value: object) -> str | None:
    """Return a path as a string, or None."""
    return None if value is None else path(key, value)


def variables(key: str, value: object) -> tuple[str, ...]:
    """Return environment variables, given as a mapping or as texts NAME=VALUE, as such texts."""
    pairs = [f"{name}={text}" for name, text in value.items()] if isinstance(value, Mapping) else value
    parts = strings(key, pairs)
    for part in parts:
        name, equals, _ = part.partition("=")
        if not (name and equals) or "\0" in part:
            raise ScenarioError(f"{key}={part!r} must be NAME=VALUE (in a scenario: {{'NAME': 'VALUE'}})")
    return parts


def argv(key: str, value: object) -> tuple[str, ...] | None:
    """Return a program and its arguments as strings, or None."""
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Iterable) or not (parts := tuple(value)):
        raise ScenarioError(f"{key}={value!r} must be a list: the program and its arguments")
    return tuple(path(key, part) for part in parts)


def seconds(key: str, value: object) -> float | None:
    """Return a finite number of seconds over 0, or None."""
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf"):
        return value
    raise ScenarioError(f"{key}={value!r} must be a number of seconds over 0")


def seconds_of(text: str) -> float | None:
    """Return the seconds of a duration, as 60, 60s or 2m; None if the text is none, or too long a time."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(s|m)?", text, re.ASCII)
    if match is None:
        return None
    value = float(match[1]) * (60 if match[2] == "m" else 1)
    return value if value < 1e9 else None


def whole(key: str, value: object) -> int:
    """Return a whole number from 1 on."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ScenarioError(f"{key}={value!r} must be a whole number from 1 on")
    return value


def regex(key: str, value: object) -> str:
    """Return the text of a regular expression."""
    try:
        re.compile(value)  # type: ignore[call-overload]  # it may be anything
    except (re.error, TypeError) as error:
        raise ScenarioError(f"{key}={value!r} is not a regular expression: {error}") from error
    return text(key, value)


def regexes(key: str, value: object) -> tuple[str, ...]:
    """Return one or several regular expressions as a tuple."""
    return tuple(regex(key, one) for one in strings(key, value))


def instant(key: str, value: object) -> str:
    """Return the instant at which the clock stands, in its one form; True is the default one, "" is none.

    It may be given as a datetime, which is what TOML makes of an instant without quotes.
    """
    if value is True:
        return DEFAULT
    if value in (False, None, ""):
        return ""
    written = value.isoformat() if hasattr(value, "isoformat") else value
    try:
        return canonical(text(key, written))
    except ValueError as error:
        if isinstance(error, ScenarioError):
            raise
        raise ScenarioError(f"{key}={value!r} {error}") from error


def function(key: str, value: object) -> object:
    """Return something that can be called, or None."""
    if value is not None and not callable(value):
        raise ScenarioError(f"{key}={value!r} must be a function")
    if is_generator(value):
        raise ScenarioError(
            f"{key}={value!r} must be a function without a yield, or a call of it runs nothing"
        )
    return value


#: Flags of code objects: the function is a generator, or an asynchronous one (see the module inspect).
_GENERATORS = 0x20 | 0x200


def is_generator(function: object) -> bool:
    """Return whether a call of a function would only make a generator."""
    return bool(getattr(getattr(function, "__code__", None), "co_flags", 0) & _GENERATORS)


def program(key: str, value: object) -> object:
    """Return a function, a command as strings, or None; a text is split as a shell would split it."""
    if value is None or callable(value):
        return function(key, value)
    if isinstance(value, str):
        from .command_text import words_of  # noqa: PLC0415 - slow to import, and no body needs it

        return tuple(words_of(key, value))
    if isinstance(value, Iterable) and (parts := tuple(value)):
        return tuple(path(key, part) for part in parts)
    raise ScenarioError(f"{key}={value!r} must be a function, or a command: a text, or a list of its words")


def sets(key: str, value: object) -> tuple[str, ...]:
    """Return patterns of files that belong together, as ``out/*`` or ``out/* if out/_SUCCESS``."""
    parts = strings(key, value)
    for part in parts:
        for one in part.split(" if ", 1):
            patterns(key, (one,))
    return parts


def params(key: str, value: object) -> dict[str, tuple[object, ...]] | None:
    """Return names of arguments with the values that each takes in turn, or None."""
    if value is None:
        return None
    form = f"{key}={value!r} must be names of arguments, each with a list of values, as {{'n': [1, 2]}}"
    if not isinstance(value, Mapping) or not value:
        raise ScenarioError(form)
    for name, several in value.items():
        if isinstance(several, (str, bytes)) or not isinstance(several, Iterable):
            raise ScenarioError(form)
        if not isinstance(name, str) or not name.isidentifier() or name == "box":
            raise ScenarioError(f"{form}; {name!r} can be no argument's name ({{box}} is the box's path)")
    found = {name: tuple(several) for name, several in value.items()}
    for name, several in found.items():
        if not several:
            raise ScenarioError(f"{form}; {name!r} has no value")
    return found


def profile(key: str, value: object) -> str:
    """Return the name of a profile; whether there is such a profile is checked later."""
    if not isinstance(value, str):
        raise ScenarioError(f"{key}={value!r} must be the name of a profile, as 'ext4'")
    return value
