"""outlive test --list: the scenarios that would run, for people and as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import click

from outlive_harness.report.escaped import visible
from outlive_harness.report.files import asked_for
from outlive_harness.results.options import Options
from outlive_harness.results.scenario import Scenario
from outlive_harness.search.choices import faults_of


def show(scenarios: Sequence[Scenario], options: Options, json_file: str | None) -> None:
    """Print a line for each scenario: where it is declared, its name, and the faults that would be injected.

    Args:
        scenarios: the scenarios.
        options: the options of the run.
        json_file: where to write them as JSON instead; - is standard output.

    Raises:
        ScenarioError: a fault is unknown, or the file cannot be written.
    """
    found = [_facts(one, options) for one in scenarios]
    reports = asked_for({"json": json_file})
    for report in reports:
        report.check()
        report.put(json.dumps({"schema": 1, "scenarios": found}, indent=2) + "\n")
    if reports:
        return
    rows = [(f"{one['file']}:{one['line']}", one["name"], _remark(one)) for one in found]
    widths = [max((len(visible(row[column])) for row in rows), default=0) for column in (0, 1)]
    for place, name, remark in rows:
        click.echo(f"{visible(place).ljust(widths[0])}  {visible(name).ljust(widths[1])}  {remark}")


def _facts(one: Scenario, options: Options) -> dict[str, Any]:
    return {
        "name": one.name,
        "file": os.path.relpath(one.file),
        "line": one.line,
        "faults": list(faults_of(options, one)),
        "expect": list(one.expect),
        "params": {key: value if _is_plain(value) else repr(value) for key, value in one.given.items()},
    }


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, str))


def _remark(facts: dict[str, Any]) -> str:
    faults = ",".join(facts["faults"]) or "none of its faults is asked for"
    return faults + (f"  expects {','.join(facts['expect'])}" if facts["expect"] else "")
