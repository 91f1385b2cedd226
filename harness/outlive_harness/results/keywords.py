"""The keywords of scenario() in one table, and the checks of their values.

A keyword is a row here, an argument of ``scenario()`` and an attribute of ``Scenario``. From the row come its
default, its check, its options (``check``, ``test``, pytest), and its place in a failure that is kept.
What a run itself needs is a field of ``RunSpec`` of the same name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from .globs import matcher
from .violations import VIOLATIONS

#: Where ``torn`` cuts a write, the default first: at a page of its file, as SIGKILL does, or at any byte.
CUTS = ("pages", "bytes")
#: On which file system the temporary directory is, the default first: another than the box, as on most
#: machines, or the same.
TMP_CHOICES = ("other", "same")
#: What leftovers of a crash mean, the default first.
LITTER_CHOICES = ("warn", "fail")


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


class Keyword(NamedTuple):
    """One keyword of scenario().

    Attributes:
        name: the keyword; its option is ``--name``, pytest's is ``--outlive-name``.
        default: its value if it is not given.
        kind: the function that checks a value and returns it as it is kept.
        choices: the values that there are to choose from; empty if they are not few.
        doors: where an option sets it: ``check``, ``test``, ``pytest``.
        is_for_all: whether its option says what is done with all scenarios (a field of ``Options``); else
            the option's value is put into the scenario.
        help: what the help text of its options says.
        metavar: the name of the option's value there.
    """

    name: str
    default: object
    kind: Callable[[str, object], object]
    choices: tuple[str, ...] = ()
    doors: tuple[str, ...] = ()
    is_for_all: bool = False
    help: str = ""
    metavar: str | None = None

    def checked(self, value: object, key: str = "") -> object:
        """Return a value as it is kept.

        Args:
            value: what was given.
            key: how the message names it; by default as the keyword.

        Raises:
            ScenarioError: it is not of the form that it should be; the message begins with its name.
        """
        if self.choices and value not in (self.default, *self.choices):
            choices = " or ".join(map(repr, self.choices))
            raise ScenarioError(f"{key or self.name}={value!r} must be {choices}")
        return self.kind(key or self.name, value)

    @property
    def flag(self) -> str:
        """The name of its option, without the dashes."""
        return self.name.replace("_", "-")

    @property
    def is_added(self) -> bool:
        """Whether its options add to what a scenario says; else they replace it."""
        return self.kind is patterns

    @property
    def is_data(self) -> bool:
        """Whether its value can be written down."""
        return self.kind not in (function, params)


_CHECK, _BOTH, _ALL = ("check",), ("check", "test"), ("check", "test", "pytest")
#: All keywords, in the order of the options' help.
KEYWORDS = (
    Keyword("name", "", text),
    Keyword("command", None, argv),
    Keyword("params", None, params),
    Keyword("expect", (), violations),
    Keyword("setup", None, function),
    Keyword("check", None, function),
    Keyword(
        "faults",
        None,
        faults,
        doors=_ALL,
        is_for_all=True,
        metavar="LIST",
        help="Faults to inject, separated by commas; by default each scenario's own, else kill.",
    ),
    Keyword(
        "profile",
        "",
        profile,
        doors=_ALL,
        is_for_all=True,
        metavar="NAME",
        help="What the disk promises when the power is cut; by default each scenario's own, else posix.",
    ),
    Keyword(
        "torn",
        "",
        text,
        CUTS,
        doors=_ALL,
        is_for_all=True,
        help="Where torn cuts a write: at pages of its file, as SIGKILL does, or at any byte; by default "
        "each scenario's own, else pages.",
    ),
    Keyword(
        "depth", 1, whole, doors=_ALL, is_for_all=True, metavar="N", help="Crashes in a row; by default 1."
    ),
    Keyword("outputs", (), patterns, doors=_BOTH, metavar="GLOB", help="Files that readers see. Repeatable."),
    Keyword(
        "append_only",
        (),
        patterns,
        doors=_BOTH,
        metavar="GLOB",
        help="Files of which a prefix that ends with a line is complete. Repeatable.",
    ),
    Keyword(
        "ignore", (), patterns, doors=_BOTH, metavar="GLOB", help="Files that no check looks at. Repeatable."
    ),
    Keyword(
        "input", None, directory, doors=_BOTH, metavar="DIR", help="A directory to copy into each box first."
    ),
    Keyword("timeout", None, seconds, doors=_BOTH, metavar="SECONDS", help="How long one run may take."),
    Keyword(
        "restarts",
        1,
        whole,
        doors=_BOTH,
        metavar="N",
        help="How often it may be started until it must have exited with 0.",
    ),
    Keyword(
        "tmp",
        TMP_CHOICES[0],
        text,
        TMP_CHOICES,
        doors=_BOTH,
        help="The temporary directory is on another file system than the outputs (other, by default), so a "
        "rename from there fails with EXDEV; or on the same.",
    ),
    Keyword(
        "litter",
        LITTER_CHOICES[0],
        text,
        LITTER_CHOICES,
        doors=_CHECK,
        help="What leftovers of a crash mean.",
    ),
    Keyword(
        "acks", "", regex, doors=_CHECK, metavar="REGEX", help="Lines of its output that promise something."
    ),
)
KEYWORD = {keyword.name: keyword for keyword in KEYWORDS}
NAMES = tuple(KEYWORD)


def with_option(door: str, *, is_for_all: bool | None = None) -> tuple[Keyword, ...]:
    """Return the keywords that a door has an option for; of one sort only, if that is given."""
    several = (one for one in KEYWORDS if door in one.doors)
    return tuple(one for one in several if is_for_all in (None, one.is_for_all))
