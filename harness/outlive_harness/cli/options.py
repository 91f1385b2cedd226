"""The options that commands have in common, and their types; keywords' options come from their table."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from outlive_harness.disk.profiles import PROFILES
from outlive_harness.disk.realfs import KINDS
from outlive_harness.faults.table import NAMES
from outlive_harness.golden.similar import MANY, SELECTIONS
from outlive_harness.results import keywords
from outlive_harness.results.keywords import Keyword, seconds_of, with_option

F = TypeVar("F", bound=Callable[..., Any])
Option = Callable[[F], F]


def duration(text: str) -> float:
    """Return the seconds of a duration: a number of seconds, or of minutes with an m."""
    seconds = seconds_of(text)
    if not seconds:
        raise click.BadParameter(f"{text!r} must be a number of seconds over 0, as 60 or 60s or 2m")
    return seconds


def signal_number(text: str) -> int:
    """Return the number of a signal that is given by its name, with or without SIG, or by its number."""
    name = text.upper().removeprefix("SIG")
    known = {one.name.removeprefix("SIG"): one.value for one in signal.Signals}
    number = known.get(name, int(name) if name.isascii() and name.isdigit() else 0)
    if number not in known.values() or number == signal.SIGSTOP:
        raise click.BadParameter(f"{text!r} must be a signal that can be sent, as TERM, INT or USR1")
    return number


def faults(text: str) -> tuple[str, ...]:
    """Return the names in a list of faults; whether there are such faults is checked with each scenario."""
    names = dict.fromkeys(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise click.BadParameter(f"{text!r} names no fault; there are: {', '.join(NAMES)}")
    return tuple(names)


#: For each kind of keyword, what click must know of its option.
_KINDS: dict[Callable[[str, object], object], dict[str, Any]] = {
    keywords.faults: {"type": faults},
    keywords.profile: {"type": click.Choice(list(PROFILES))},
    keywords.patterns: {"multiple": True},
    keywords.directory: {"type": click.Path(exists=True, file_okay=False, resolve_path=True)},
    keywords.seconds: {"type": duration},
    keywords.whole: {"type": click.IntRange(1)},
    keywords.regex: {},
}
#: What there is to choose from, where the table of keywords cannot know it.
_THERE_ARE: dict[Callable[[str, object], object], tuple[str, ...]] = {
    keywords.faults: NAMES,
    keywords.profile: tuple(PROFILES),
}


def option_of(keyword: Keyword) -> Option[F]:
    """Return the option of a keyword; its value is None (or empty, if repeatable) if it is not given."""
    facts = {"type": click.Choice(keyword.choices)} if keyword.choices else _KINDS[keyword.kind]
    names = _THERE_ARE.get(keyword.kind)
    return click.option(
        f"--{keyword.flag}",
        keyword.name,
        default=(keyword.default or None) if keyword.is_for_all else None,
        metavar=keyword.metavar,
        help=keyword.help + (f" There are: {', '.join(names)}." if names else ""),
        **facts,
    )


def _added(function: F, options: Sequence[Option[Any]]) -> F:
    for option in reversed(options):
        function = option(function)
    return function


def for_a_command(function: F) -> F:
    """Add the options of keywords that only check has: a scenario in a file declares them itself."""
    return _added(function, [option_of(one) for one in with_option("check") if "test" not in one.doors])


def shared(function: F) -> F:
    """Add the options that test and check have in common."""
    for_all: list[Option[F]] = [option_of(one) for one in with_option("test", is_for_all=True)]
    for_each: list[Option[F]] = [option_of(one) for one in with_option("test", is_for_all=False)]
    return _added(function, [*for_all, *_WHAT, *for_each, *_HOW, box_dir_option, *_REPORTS])


box_dir_option = click.option(
    "--box-dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True, writable=True, resolve_path=True),
    metavar="DIR",
    help="Where boxes are made; by default in memory.",
)

#: What is tried.
_WHAT: tuple[Option[Any], ...] = (
    click.option(
        "--real-fs",
        type=click.Choice(list(KINDS)),
        metavar="NAME",
        help=f"Cut the power on a real file system as well: {', '.join(KINDS)}. Needs root.",
    ),
    click.option(
        "--signal",
        type=signal_number,
        default="TERM",
        metavar="NAME",
        help="What term sends: TERM (by default), INT, HUP, USR1, ...",
    ),
    click.option(
        "--points", type=click.IntRange(1), metavar="N", help="Sample N crash points of each fault."
    ),
    click.option(
        "--select",
        type=click.Choice(SELECTIONS),
        default="auto",
        help="Crash points: all; distinct: one of each group of similar points; auto, by default: all, but "
        f"distinct for a fault with more than {MANY}.",
    ),
    click.option("--seed", type=int, default=0, metavar="N", help="Decides every sample; by default 0."),
)

#: How it is tried, and what is made of the results.
_HOW: tuple[Option[Any], ...] = (
    click.option(
        "--budget",
        type=duration,
        metavar="SECONDS",
        help="Begin nothing after that time, neither trials nor explanations; what says most is tried first. "
        "If time is left, use it for deeper plans, drawn at random.",
    ),
    click.option(
        "--fail-fast",
        is_flag=True,
        help="Leave a scenario at its first violation; with --explain all it is explained.",
    ),
    click.option(
        "--zygote/--no-zygote",
        default=True,
        help="Fork trials of Python programs from a warm interpreter (by default), or exec each.",
    ),
    click.option(
        "--explain",
        type=click.Choice(["auto", "all", "none"]),
        default="auto",
        help="Trace violations to their lines, and try repairs: of unexpected ones (auto; none with "
        "--fail-fast), all, or none.",
    ),
    click.option(
        "--baseline",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Violations that are known today: they fail nothing, but one that is gone does.",
    ),
    click.option("--update-baseline", is_flag=True, help="Write the violations that are found to that file."),
    click.option(
        "--memory",
        type=click.IntRange(0),
        metavar="MIB",
        help="Data of a recorded run (for power) to keep in memory; more goes to a file. By default 64.",
    ),
    click.option(
        "-j",
        "jobs",
        type=click.IntRange(1, 1024),
        metavar="N",
        help="Worker processes, at most 1024; by default one a processor, and more if the runs mostly wait.",
    ),
)

#: Where it is reported.
_REPORTS: tuple[Option[Any], ...] = (
    click.option("--json", "json_file", metavar="FILE", help="Write a JSON report; - is stdout."),
    click.option("--html", "html_file", metavar="FILE", help="Write an HTML report: one file."),
    click.option("--junit", "junit_file", metavar="FILE", help="Write a JUnit XML report."),
    click.option("--sarif", "sarif_file", metavar="FILE", help="Write a SARIF report, for code scanning."),
    click.option(
        "--github/--no-github",
        default=None,
        help="Annotate lines and write a summary of the step; by default in a GitHub workflow.",
    ),
)
