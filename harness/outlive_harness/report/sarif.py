"""SARIF 2.1.0, for code scanning: a result a cause, at the line of the program that it comes from.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import Any
from urllib.parse import quote

from outlive_harness import __version__
from outlive_harness.explain.causes import causes, located, location
from outlive_harness.results.findings import Violation
from outlive_harness.results.verdicts import RunResult, ScenarioResult, Verdict
from outlive_harness.results.violations import VIOLATIONS

from .escaped import visible, visible_text
from .text import explain, is_no_alarm
from .unjudged import of_all

_RULES = {**VIOLATIONS, "unknown": "What could not be tested is unknown, never held."}
_NUMBERS = re.compile(r"[0-9]+")


def as_text(result: RunResult) -> str:
    """Return the report."""
    names = list(_RULES)
    found = [entry for one in result.scenarios if not is_no_alarm(one) for entry in _results(one, names)]
    rules = [{"id": name, "shortDescription": {"text": text}} for name, text in _RULES.items()]
    driver = {"name": "outlive", "version": __version__, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "originalUriBaseIds": {"ROOT": {"uri": f"file://{_uri(os.getcwd())}/"}},
        "properties": {
            "seed": result.seed,
            "verdict": str(result.verdict),
            "notJudged": of_all(result.scenarios),
        },
        "invocations": [_invocation(result)],
        "results": found,
    }
    whole = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }
    return json.dumps(whole, indent=2, ensure_ascii=True) + "\n"


def _invocation(result: RunResult) -> dict[str, Any]:
    """Return whether the run came to its end, and a note for each scenario that was skipped."""
    notes = [
        {"level": "note", "message": {"text": visible_text(f"{one.name}: skipped: {one.reason}")}}
        for one in result.scenarios
        if one.verdict is Verdict.SKIPPED
    ]
    facts = {"executionSuccessful": not result.interrupted}
    return {**facts, "toolExecutionNotifications": notes} if notes else facts


def _results(one: ScenarioResult, names: list[str]) -> list[dict[str, Any]]:
    if one.verdict is Verdict.UNKNOWN and not one.violations:
        text = f"{one.name}: {one.reason}"
        return [_entry(names, "unknown", "warning", text, _file_of(one), one.name)]
    several = []
    for cause in causes(one.violations):
        lead = cause.lead
        text = f"{one.name}: " + "\n".join(explain(lead))
        key = f"{one.name}\n{lead.kind}\n{_NUMBERS.sub('#', lead.path)}\n{lead.fault}"
        entry = _entry(names, lead.kind, "error", text, _of(lead, one), key)
        entry["properties"] = {"replay": visible(lead.replay), "advice": visible(lead.advice)}
        if lead.known:
            entry["suppressions"] = [{"kind": "external", "justification": "the baseline lists it"}]
        frames = [_place(*spot) for frame in lead.stack if (spot := located(frame)) is not None]
        if frames:
            entry["stacks"] = [{"frames": [{"location": frame} for frame in frames]}]
        several.append(entry)
    return several


def _entry(
    names: list[str], rule: str, level: str, text: str, places: list[dict[str, Any]], key: str
) -> dict[str, Any]:
    return {
        "ruleId": rule,
        "ruleIndex": names.index(rule),
        "level": level,
        "message": {"text": visible_text(text)},
        "locations": places,
        "partialFingerprints": {"outlive/v1": hashlib.sha256(os.fsencode(key)).hexdigest()[:32]},
    }


def _of(lead: Violation, one: ScenarioResult) -> list[dict[str, Any]]:
    """Return the location of a violation: its line, or the scenario's file."""
    spot = location(lead)
    # A line of a package is relative to a directory that is not named.
    is_there = spot is not None and (os.path.isabs(spot[0]) or os.path.isfile(spot[0]))
    return [_place(*spot)] if spot is not None and is_there else _file_of(one)


def _file_of(one: ScenarioResult) -> list[dict[str, Any]]:
    """Return the location of a scenario; a command has no file."""
    return [_place(one.file, 1)] if os.path.isfile(one.file) else []


def _place(file: str, line: int) -> dict[str, Any]:
    path = os.path.relpath(file)
    inside = not path.startswith(os.pardir)
    place = (
        {"uri": _uri(path), "uriBaseId": "ROOT"}
        if inside
        else {"uri": f"file://{_uri(os.path.abspath(file))}"}
    )
    return {"physicalLocation": {"artifactLocation": place, "region": {"startLine": line}}}


def _uri(path: str) -> str:
    return quote(os.fsencode(path))
