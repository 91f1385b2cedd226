"""Reports for GitHub: annotations on the lines to change, and a table in the summary of the step.

Source: https://docs.github.com/actions/reference/workflow-commands-for-github-actions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from outlive_harness.explain.causes import causes, location
from outlive_harness.results.verdicts import RunResult, ScenarioResult, Verdict

from .escaped import visible, visible_text
from .text import counts, explain, is_no_alarm, not_judged, note, verdict_line, verdict_word

#: GitHub shows ten errors of a step; a few are enough to begin with.
_ANNOTATED = 5
_CAUSES = 20
_HEAD = ("| scenario | verdict | ops | points | states | note |", "| --- | --- | ---: | ---: | ---: | --- |")


def is_here(environment: Mapping[str, str]) -> bool:
    """Return whether this process runs in a workflow."""
    return environment.get("GITHUB_ACTIONS") == "true"


def commands(result: RunResult) -> list[str]:
    """Return workflow commands, one a line: the first causes at their lines, and the unknown scenarios."""
    lines: list[str] = []
    for one in result.scenarios:
        if is_no_alarm(one) or one.verdict is Verdict.HELD:
            continue
        found = causes([violation for violation in one.violations if not violation.known])
        if not found or one.expected:
            level = "error" if one.verdict is Verdict.VIOLATED else "warning"
            lines.append(_command(level, one.file, 1, f"{one.name}: {one.verdict}", one.reason))
        for cause in found if not one.expected else ():
            file, line = location(cause.lead) or (one.file, 1)
            text = "\n".join(explain(cause.lead))
            lines.append(_command("error", file, line, f"{one.name}: {cause.lead.kind}", text))
    return lines[:_ANNOTATED]


def _command(level: str, file: str, line: int, title: str, text: str) -> str:
    path = os.path.relpath(file) if os.path.isfile(file) else ""
    where = {"file": path, "line": str(line)} if path and not path.startswith(os.pardir) else {}
    properties = ",".join(f"{key}={_property(value)}" for key, value in {**where, "title": title}.items())
    return f"::{level} {properties}::{_data(visible_text(text))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(visible(text)).replace(":", "%3A").replace(",", "%2C")


def summary(result: RunResult) -> str:
    """Return Markdown: a table of the scenarios, and each cause with its line, replay line and advice."""
    lines = [
        f"## outlive: {result.verdict}",
        "",
        f"{verdict_line(result.scenarios)}; {result.seconds:.1f} s, seed {result.seed}.",
    ]
    if result.scenarios:
        lines += ["", *_HEAD, *map(_row, result.scenarios)]
    for one in result.scenarios:
        found = [] if is_no_alarm(one) else causes(one.violations)[:_CAUSES]
        for cause in found:
            title = _cell(f"{one.name}: {explain(cause.lead)[0]}")
            text = _fenced("\n".join(explain(cause.lead)))
            lines += ["", f"<details><summary>{title}</summary>", "", text, "</details>"]
    said = [f"- {_cell(text)}" for text in not_judged(result.scenarios)]
    if said:
        lines += ["", *said]
    return "\n".join(lines) + "\n"


def _row(one: ScenarioResult) -> str:
    tested, states = counts(one)
    cells = (visible(one.name), verdict_word(one), str(one.ops), tested, states, note(one))
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    """Return a text with the characters of Markdown and HTML escaped."""
    for plain, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(plain, safe)
    return "".join(f"\\{c}" if c in "\\`*_[]|~#" else c for c in text)


def _fenced(text: str) -> str:
    longest = max((len(run) for run in "".join(c if c == "`" else " " for c in text).split()), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}\n"


def append_summary(result: RunResult, environment: Mapping[str, str]) -> None:
    """Append the summary to that of the workflow's step, if this process runs in one.

    Raises:
        OSError: it cannot be written.
    """
    target = environment.get("GITHUB_STEP_SUMMARY")
    if target:
        with open(target, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(summary(result))
