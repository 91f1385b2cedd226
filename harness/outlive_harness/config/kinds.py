"""The checks of values in ``[tool.outlive]`` that are no keywords' values: one function for each kind.

Each takes the key, the value and the directory of the file, from which relative paths start. It returns the
value as the option of that name has it, or raises ScenarioError; the message begins with key and value.
"""

from __future__ import annotations

import os
import signal as signals
from collections.abc import Callable, Collection
from pathlib import Path

from outlive_harness.results import value_kinds
from outlive_harness.results.value_kinds import ScenarioError, seconds_of

Kind = Callable[[str, object, Path], object]


def flag(key: str, value: object, _home: Path) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise ScenarioError(f"{key}={value!r} must be true or false")
    return value


def number(least: int | None = None, most: int | None = None) -> Kind:
    """Return the kind of whole numbers between two bounds."""
    bounds = "" if least is None else f" from {least} on" if most is None else f" from {least} to {most}"

    def check(key: str, value: object, _home: Path) -> int:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        if not (is_number and (least is None or value >= least) and (most is None or value <= most)):  # type: ignore[operator]
            raise ScenarioError(f"{key}={value!r} must be a whole number{bounds}")
        assert isinstance(value, int)
        return value

    return check


def choice(among: Collection[str]) -> Kind:
    """Return the kind of texts of which there are few."""

    def check(key: str, value: object, _home: Path) -> str:
        if not isinstance(value, str) or value not in among:
            raise ScenarioError(f"{key}={value!r} must be one of: {', '.join(among)}")
        return value

    return check


def duration(key: str, value: object, _home: Path) -> float:
    """Return a number of seconds over 0, which may be written as on the command line."""
    seconds = seconds_of(value) if isinstance(value, str) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < 1e9:
        raise ScenarioError(f'{key}={value!r} must be a number of seconds over 0, as 60, "60s" or "2m"')
    return float(seconds)


def signal(key: str, value: object, _home: Path) -> int:
    """Return the number of a signal, which is given by its name or its number."""
    number = signal_number(str(value)) if isinstance(value, (str, int)) else None
    if number is None:
        raise ScenarioError(f"{key}={value!r} must be a signal that can be sent, as TERM, INT or USR1")
    return number


def signal_number(text: str) -> int | None:
    """Return the number of a signal that a name, with or without SIG, or a number means; None for others."""
    name = text.upper().removeprefix("SIG")
    known = {one.name.removeprefix("SIG"): one.value for one in signals.Signals}
    number = known.get(name, int(name) if name.isascii() and name.isdigit() else 0)
    return number if number in known.values() and number != signals.SIGSTOP else None


def names(key: str, value: object, _home: Path) -> tuple[str, ...]:
    """Return one or several names."""
    return value_kinds.strings(key, value)


def file(key: str, value: object, home: Path) -> Path:
    """Return the path of a file, which need not exist."""
    if not isinstance(value, str) or not value:
        raise ScenarioError(f"{key}={value!r} must be the path of a file, relative to the directory {home}")
    return home / value


def target(key: str, value: object, home: Path) -> str:
    """Return the path of a file to write; - is standard output."""
    return "-" if value == "-" else str(file(key, value, home))


def directory(key: str, value: object, home: Path) -> Path:
    """Return the path of a directory that exists."""
    if not isinstance(value, str) or not value or not os.path.isdir(home / value):
        raise ScenarioError(
            f"{key}={value!r} must be an existing directory, relative to the directory {home}"
        )
    return (home / value).resolve()
