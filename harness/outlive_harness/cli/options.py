"""The options that commands have in common, and their types; keywords' options come from their table."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import click
from click.core import ParameterSource

from outlive_harness.config import kinds
from outlive_harness.config.read import Config, read
from outlive_harness.disk.profiles import PROFILES
from outlive_harness.disk.realfs import KINDS
from outlive_harness.faults.table import NAMES
from outlive_harness.golden.similar import MANY, SELECTIONS
from outlive_harness.results import value_kinds
from outlive_harness.results.instants import DEFAULT
from outlive_harness.results.keywords import KEYWORD, Keyword, with_option
from outlive_harness.results.reader_names import READERS
from outlive_harness.results.scenario import Scenario
from outlive_harness.results.value_kinds import seconds_of

from . import completion

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
    number = kinds.signal_number(text)
    if number is None:
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
    value_kinds.faults: {"type": faults, "shell_complete": completion.faults},
    value_kinds.profile: {"type": click.Choice(list(PROFILES))},
    value_kinds.patterns: {"multiple": True},
    value_kinds.readers: {"multiple": True},
    value_kinds.regexes: {"multiple": True},
    value_kinds.variables: {"multiple": True},
    value_kinds.sets: {"multiple": True},
    value_kinds.program: {},
    value_kinds.directory: {"type": click.Path(exists=True, file_okay=False, resolve_path=True)},
    value_kinds.seconds: {"type": duration},
    value_kinds.whole: {"type": click.IntRange(1)},
    value_kinds.regex: {},
    value_kinds.instant: {},
}
#: What there is to choose from, where the table of keywords cannot know it.
_THERE_ARE: dict[Callable[[str, object], object], tuple[str, ...]] = {
    value_kinds.faults: NAMES,
    value_kinds.profile: tuple(PROFILES),
    value_kinds.readers: READERS,
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


#: Options that may stand alone, and the value that they then have.
_ALONE = {"--freeze": DEFAULT}


class Command(click.Command):
    """A command some of whose options may stand alone: a value follows them by an equals sign only."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, after adding the values of options that stand alone."""
        return super().parse_args(ctx, self._completed(ctx, args))

    def _completed(self, ctx: click.Context, args: Sequence[str]) -> list[str]:
        takes_value = {
            name
            for one in self.get_params(ctx)
            if isinstance(one, click.Option) and not (one.is_flag or one.count)
            for name in one.opts
        }
        done, at = list(args), 0
        while at < len(done) and done[at] != "--":
            word = done[at]
            if word in _ALONE:
                done[at] = f"{word}={_ALONE[word]}"
            elif word in takes_value:
                at += 1
            elif not word.startswith("-") and not ctx.allow_interspersed_args:
                break  # the program under test begins here
            at += 1
        return done


def _added(function: F, options: Sequence[Option[Any]]) -> F:
    for option in reversed(options):
        function = option(function)
    return function


def for_a_command(function: F) -> F:
    """Add the options of keywords that only check has: a scenario in a file declares them itself."""
    return _added(function, [option_of(one) for one in with_option("check") if "test" not in one.doors])


def of_the_place(function: F) -> F:
    """Add the options that say where a command runs, and with which environment."""
    return _added(function, [option_of(KEYWORD[name]) for name in ("cwd", "env")])


def shared(function: F) -> F:
    """Add the options that test and check have in common."""
    for_all: list[Option[F]] = [option_of(one) for one in with_option("test", is_for_all=True)]
    for_each: list[Option[F]] = [option_of(one) for one in with_option("test", is_for_all=False)]

    @functools.wraps(function)
    def with_defaults(*arguments: Any, **wish: Any) -> Any:  # noqa: ANN401 - as click calls any
        return function(*arguments, **_with_config(wish))

    return _added(cast("F", with_defaults), [*for_all, *_WHAT, *for_each, *_HOW, box_dir_option, *_REPORTS])


class Defaults(NamedTuple):
    """What the project's configuration says, but for the keywords that the command line gives."""

    config: Config
    given: frozenset[str]

    def fill(self, one: Scenario, *, door: str = "test") -> None:
        """Put the values into a scenario."""
        self.config.fill(one, door=door, given=self.given)


def _with_config(wish: dict[str, Any]) -> dict[str, Any]:
    """Return the values of options with those of the configuration where the command line gives none.

    The keywords' values are for the scenarios: ``configured`` holds them.

    Raises:
        ScenarioError: the configuration is wrong.
    """
    context = click.get_current_context()
    config = read(Path.cwd())
    made, given = dict(wish), set()
    for option in context.command.params:
        assert option.name is not None
        if context.get_parameter_source(option.name) not in (None, ParameterSource.DEFAULT):
            given.add(option.name)
            continue
        key = max(option.opts, key=len).lstrip("-").replace("-", "_")
        if isinstance(option, click.Option) and key in config.settings:
            made[option.name] = config.settings[key]
    return {**made, "configured": Defaults(config, frozenset(given))}


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
        "-x",
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
        "--jobs",
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
