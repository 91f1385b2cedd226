"""The keywords of scenario() in one table.

A keyword is a row here, an argument of ``scenario()`` and an attribute of ``Scenario``. From the row come its
default, its check, its options (``check``, ``test``, pytest), and its place in a failure that is kept.
What a run itself needs is a field of ``RunSpec`` of the same name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .instants import DEFAULT
from .value_kinds import (
    ScenarioError,
    argv,
    directory,
    faults,
    function,
    instant,
    params,
    patterns,
    profile,
    program,
    readers,
    regex,
    regexes,
    seconds,
    sets,
    text,
    variables,
    violations,
    whole,
)

#: Where ``torn`` cuts a write, the default first: at a page of its file, as SIGKILL does, or at any byte.
CUTS = ("pages", "bytes")
#: On which file system the temporary directory is, the default first: another than the box, as on most
#: machines, or the same.
TMP_CHOICES = ("other", "same")
#: What leftovers of a crash mean, the default first.
LITTER_CHOICES = ("warn", "fail")


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
        return self.kind in ADDED

    @property
    def is_data(self) -> bool:
        """Whether its value can be written down; of a program, only a command can."""
        return self.kind not in (function, params)


_CHECK, _BOTH, _ALL = ("check",), ("check", "test"), ("check", "test", "pytest")
#: Kinds of which options add to what a scenario says; else they replace it.
ADDED = (patterns, readers, regexes, sets, variables)
#: All keywords, in the order of the options' help.
KEYWORDS = (
    Keyword("name", "", text),
    Keyword("command", None, argv),
    Keyword("params", None, params),
    Keyword("expect", (), violations),
    Keyword("setup", None, function),
    Keyword(
        "check",
        None,
        program,
        doors=_CHECK,
        metavar="COMMAND",
        help="A command that judges the files after each recovery: it must exit with 0, and print what it "
        "prints after a run with no crash.",
    ),
    Keyword(
        "crash_check",
        None,
        program,
        doors=_CHECK,
        metavar="COMMAND",
        help="A command that judges the files that a crash left, before the recovery: it must exit with 0.",
    ),
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
        "read",
        (),
        readers,
        doors=_BOTH,
        metavar="GLOB=READER",
        help="Judge outputs by the value that a reader gives, not by their bytes. Repeatable.",
    ),
    Keyword(
        "mask",
        (),
        regexes,
        doors=_BOTH,
        metavar="REGEX",
        help="Leave what matches out of outputs that are text: times, durations, random names. Repeatable.",
    ),
    Keyword(
        "append_only",
        (),
        patterns,
        doors=_BOTH,
        metavar="GLOB",
        help="Files of which a prefix that ends with a line is complete. Repeatable.",
    ),
    Keyword(
        "settled",
        (),
        patterns,
        doors=_BOTH,
        metavar="GLOB",
        help="Files that may be partial at a crash, and must be right after the recovery. Repeatable.",
    ),
    Keyword(
        "together",
        (),
        sets,
        doors=_BOTH,
        metavar="GLOB",
        help="Files that belong together: a crash leaves all of one version of them, or none. Repeatable.",
    ),
    Keyword(
        "ignore", (), patterns, doors=_BOTH, metavar="GLOB", help="Files that no check looks at. Repeatable."
    ),
    Keyword(
        "input", None, directory, doors=_BOTH, metavar="DIR", help="A directory to copy into each box first."
    ),
    Keyword(
        "cwd",
        None,
        directory,
        doors=_BOTH,
        metavar="DIR",
        help="Where the program runs, in place of the box: it reads there, and writes to {box}, which is "
        "also $OUTLIVE_BOX.",
    ),
    Keyword(
        "env",
        (),
        variables,
        doors=_BOTH,
        metavar="NAME=VALUE",
        help="A variable of the program's environment; {box} in it is the box's path. Repeatable.",
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
        "freeze",
        "",
        instant,
        doors=_BOTH,
        metavar="INSTANT",
        help=f"The wall clock stands still at INSTANT (ISO 8601 with an offset or Z) for the whole process "
        f"tree; --freeze alone: at {DEFAULT}. Monotonic time runs on.",
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
