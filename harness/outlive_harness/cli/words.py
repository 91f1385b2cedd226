"""What the commands share: where things are kept, how a fault is told, what the texts of options mean."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import click

from outlive_harness.disk.realfs import missing
from outlive_harness.faults.table import NAMES
from outlive_harness.report.text import visible_lines
from outlive_harness.results.scenario import ScenarioError

SCENARIOS = Path("scenarios")


def complain(text: str) -> None:
    """Say something on standard error."""
    click.echo("outlive: " + "\n".join(visible_lines(text)), err=True)


def duration(text: str) -> float:
    """Read a duration: a number of seconds, or of minutes with an m."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(s|m)?", text, re.ASCII)
    seconds = float(match[1]) * (60 if match[2] == "m" else 1) if match else 0.0
    if not 0 < seconds < 1e9:
        raise click.BadParameter(f"{text!r} is no duration: a number over 0, as 60 or 60s or 2m")
    return seconds


def signal_number(text: str) -> int:
    """Read a signal by its name, with or without SIG, or by its number."""
    name = text.upper().removeprefix("SIG")
    known = {one.name.removeprefix("SIG"): one.value for one in signal.Signals}
    number = known.get(name, int(name) if name.isascii() and name.isdigit() else 0)
    if number not in known.values() or number == signal.SIGSTOP:
        raise click.BadParameter(f"{text!r} is no signal that can be sent, as TERM, INT or USR1")
    return number


def real_fs(name: str | None) -> str:
    """Refuse a file system that cannot be had here."""
    why = missing(name) if name else ""
    if why:
        raise ScenarioError(f"--real-fs={name!r} cannot be had here: {why}")
    return name or ""


def faults(text: str) -> tuple[str, ...]:
    """Read a list of faults; whether there are such is for the exploration to say."""
    names = dict.fromkeys(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise click.BadParameter(f"{text!r} names no fault; there are: {', '.join(NAMES)}")
    return tuple(names)
