"""Each verdict ends with what it does not cover, and why, whatever the report."""

import io
import json
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from outlive_harness.pytest_support.outcome import to_property
from outlive_harness.pytest_support.summary import print_summary
from outlive_harness.report import github, html_report, json_report, junit, sarif
from outlive_harness.report.terminal import Live, summary
from outlive_harness.report.text import details
from outlive_harness.report.unjudged import not_tried_of_each
from outlive_harness.results.findings import Effect, NotJudged
from outlive_harness.results.verdicts import Coverage, RunResult, ScenarioResult, Verdict

#: What each report must say of the result below: files, effects, points, faults, each with its reason.
SAID = ("index.bin", "settled: 1 file", "127.0.0.1:5432", "2 of 7 crash points of kill", "a sample", "eio")


def held(name="one", *, faults=("kill",), not_asked=("full", "eio"), **facts):
    coverage = {fault: Coverage(7, 5, 5, notes=["a sample"]) for fault in faults}
    return ScenarioResult(
        name,
        Verdict.HELD,
        "a sample",
        faults=coverage,
        not_asked=not_asked,
        not_judged=[NotJudged("index.bin", "settled: 1 file, compared after the recovery")],
        effects=[Effect("127.0.0.1:5432", 3)],
        **facts,
    )


def by_terminal(result):
    out = Console(file=io.StringIO(), width=200, soft_wrap=True)
    with Live(out, 1) as live:
        live.finished(result.scenarios[0])
    summary(out, result)
    return out.file.getvalue()


def by_pytest(result):
    lines = []
    reporter = SimpleNamespace(
        ensure_newline=lambda: None,
        section=lines.append,
        write=lambda text, **_: lines.append(text),
        write_line=lines.append,
        config=SimpleNamespace(rootpath="", invocation_params=SimpleNamespace(dir="")),
    )
    print_summary(reporter, {one.name: to_property(one, "kill", 0) for one in result.scenarios})
    return "\n".join(lines)


def by_junit(result):
    properties = ET.fromstring(junit.as_text(result)).iter("property")  # noqa: S314 - our own
    return "\n".join(one.get("value") for one in properties if one.get("name").startswith("not-judged"))


@pytest.mark.parametrize(
    "report",
    [
        by_terminal,
        by_pytest,
        by_junit,
        lambda result: (
            json.dumps(json_report.as_data(result)["scenarios"][0]["not_judged"])
            + str(json_report.as_data(result)["scenarios"][0]["effects"])
        ),
        lambda result: "\n".join(json.loads(sarif.as_text(result))["runs"][0]["properties"]["notJudged"]),
        lambda result: github.summary(result).replace("\\", ""),
        lambda result: html_report.as_text(result).split("not judged:")[1].split("</section>")[0],
    ],
    ids=["terminal", "pytest", "junit", "json", "sarif", "github", "html"],
)
def test_each_report_says_what_was_not_judged_and_why(report, monkeypatch):
    """Files, effects outside, points that were left out, faults that were not asked for."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    text = report(RunResult([held()], 0, 1.0))
    for said in SAID:
        # A terminal has the points in a column, and their reason is that of the verdict.
        assert ("5/7" if report is by_terminal and "points" in said else said) in text


def test_it_is_the_end_of_what_is_said():
    """Also behind the warnings, and in a page."""
    one = held(warnings=["litter: x"])
    assert details(one)[-3:-1] == [
        "warning: litter: x",
        "not judged: index.bin (settled: 1 file, compared after the recovery)",
    ]
    page = html_report.as_text(RunResult([one], 0, 1.0))
    assert page.index("litter: x") < page.index("not judged: ")


def test_faults_that_only_some_scenarios_were_tested_with_are_told_of_the_others():
    """Those that none was tested with are in the last line; under pytest a scenario has several results."""
    several = [
        held("a", faults=("kill",), not_asked=("torn", "full")),
        held("a", faults=("torn",), not_asked=("kill", "full")),
        held("b", faults=("kill",), not_asked=("torn", "full")),
        held("c", faults=("kill",), not_asked=("torn", "full")),
    ]
    assert not_tried_of_each(several) == ["not judged: fault torn (not asked for) in b, c"]
