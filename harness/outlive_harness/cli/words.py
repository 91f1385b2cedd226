"""What the commands share: a message on standard error, and the types of options."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from outlive_harness.disk.realfs import missing
from outlive_harness.faults.table import NAMES
from outlive_harness.report.text import visible_lines
from outlive_harness.results.keywords import seconds_of
from outlive_harness.results.scenario import ScenarioError

SCENARIOS = Path("scenarios")


def complain(text: str) -> None:
    """Print a message on standard error."""
    click.echo("outlive: " + "\n".join(visible_lines(text)), err=True)


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


def real_fs(name: str | None) -> str:
    """Return the name of a real file system, "" for none.

    Raises:
        ScenarioError: this machine cannot make such a file system.
    """
    why = missing(name) if name else ""
    if why:
        raise ScenarioError(f"--real-fs={name!r} cannot be used here: {why}")
    return name or ""


def faults(text: str) -> tuple[str, ...]:
    """Return the names in a list of faults; whether there are such faults is checked with each scenario."""
    names = dict.fromkeys(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise click.BadParameter(f"{text!r} names no fault; there are: {', '.join(NAMES)}")
    return tuple(names)
