"""The reports that machines read where merges are gated: JUnit, SARIF, GitHub's commands and summary."""

import json
from xml.etree import ElementTree as ET

import pytest

from outlive_harness.report import github, junit, sarif
from outlive_harness.results.findings import Violation
from outlive_harness.results.verdicts import Coverage, RunResult, ScenarioResult, Verdict

ODD = "a b\n<i>&\udcff\x1b[31m|`]]>%::"


def violation(**fields):
    plain = {
        "kind": "torn-output", "fault": "kill", "point": "kill@3", "op": "write out", "path": "out",
        "message": "out is half-written", "detail": "golden: x\nhere: y", "replay": "bad:kill@3",
        "source": "pipe.py:7 in save", "stack": ("pipe.py:7 in save", "pipe.py:30"), "advice": "fsync it",
    }  # fmt: skip
    return Violation(**plain | fields)


def parsed(text):
    return ET.fromstring(text)  # noqa: S314 - our own


@pytest.fixture
def results(tmp_path, monkeypatch):
    """One of each: held, violated, unknown, known bad and caught."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenarios").mkdir()
    for name in ("pipe.py", "scenarios/all.py"):
        (tmp_path / name).touch()
    file = str(tmp_path / "scenarios" / "all.py")
    faults = {"kill": Coverage(7, 6, 5)}
    return RunResult(
        [
            ScenarioResult("good", Verdict.HELD, file=file, faults=faults),
            ScenarioResult(
                "bad", Verdict.VIOLATED, "out is half-written", file, faults, [violation()], ops=7
            ),
            ScenarioResult("dim", Verdict.UNKNOWN, "it fails with no fault", file),
            ScenarioResult(
                "caught", Verdict.HELD, file=file, violations=[violation()], expected=("torn-output",)
            ),
        ],
        seed=5,
        seconds=2.5,
    )  # fmt: skip


@pytest.fixture
def odd():
    """A result of which every text is odd."""
    found = violation(path=ODD, message=ODD, detail=ODD, op=ODD, advice=ODD, source=ODD, replay=ODD)
    return RunResult([ScenarioResult(ODD, Verdict.VIOLATED, ODD, "/" + ODD, violations=[found])], 0, 1.0)


def test_junit_counts_and_tells_each_scenario(results):
    """A failure is a violation, an error what is unknown; counts, replay and line are properties."""
    suite = parsed(junit.as_text(results))[0]
    assert {key: suite.get(key) for key in ("tests", "failures", "errors")} == {
        "tests": "4", "failures": "1", "errors": "1",
    }  # fmt: skip
    good, bad, dim, caught = suite.findall("testcase")
    assert good.find("failure") is good.find("error") is caught.find("failure") is None
    assert (bad.get("classname"), bad.get("file")) == ("scenarios.all", "scenarios/all.py")
    facts = {one.get("name"): one.get("value") for one in bad.iter("property")}
    assert facts["points.kill"] == "6/7"
    assert facts["violation.1.replay"] == "bad:kill@3"
    assert facts["violation.1.source"] == "pipe.py:7 in save"
    assert bad.find("failure").get("type") == "torn-output"
    assert "outlive replay bad:kill@3" in bad.find("failure").text
    assert dim.find("error").get("message") == "it fails with no fault"


def test_sarif_leads_to_the_line(results):
    """A result a cause, at its line, with its callers; what is known bad and was caught is none."""
    (run,) = json.loads(sarif.as_text(results))["runs"]
    bad, dim = run["results"]
    place = bad["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "pipe.py", "uriBaseId": "ROOT"}, "region": {"startLine": 7}}
    frames = [one["location"]["physicalLocation"] for one in bad["stacks"][0]["frames"]]
    assert [one["region"]["startLine"] for one in frames] == [7, 30]
    assert run["tool"]["driver"]["rules"][bad["ruleIndex"]]["id"] == bad["ruleId"] == "torn-output"
    assert bad["partialFingerprints"]
    assert (dim["ruleId"], dim["level"]) == ("unknown", "warning")
    assert dim["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "scenarios/all.py"


def test_github_annotates_the_line_and_tells_all_in_the_summary(results, tmp_path):
    """The first causes are annotations; the summary has every scenario, and how to replay."""
    first, second = github.commands(results)
    where = "file=pipe.py,line=7,title=bad%3A torn-output"
    assert first.startswith(f"::error {where}::torn-output: out is half-written%0A")
    assert second == "::warning file=scenarios/all.py,line=1,title=dim%3A unknown::it fails with no fault"
    github.append_summary(results, {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")})
    text = (tmp_path / "summary.md").read_text()
    assert "| bad | violated | 7 | 6/7 | 5 | torn-output |" in text
    assert "outlive replay bad:kill@3" in text
    github.append_summary(results, {})


def test_annotations_are_few(results):
    """GitHub shows ten at most; five are enough to begin with."""
    results.scenarios[1].violations = [violation(source=f"pipe.py:{n}") for n in range(1, 30)]
    assert len(github.commands(results)) == 5


def test_odd_names_break_no_format(odd):
    """XML parses, JSON is ASCII, a command is one line, a row of the table is one row."""
    assert parsed(junit.as_text(odd).encode()) is not None
    assert sarif.as_text(odd).isascii()
    (line,) = github.commands(odd)
    assert "\n" not in line
    assert line.count("::") == 2 or line.split("::", 2)[2]
    table = [row for row in github.summary(odd).splitlines() if row.startswith("| a b")]
    assert len(table) == 1
    assert table[0].replace("\\|", "").count("|") == 7
    lines = github.summary(odd).splitlines()
    assert not [row for row in lines if row.startswith(("|", "<details>")) and "<i>" in row]


def test_a_run_of_nothing_is_told_in_every_format():
    """No scenarios: whole reports that say so."""
    nothing = RunResult([], 0, 0.0)
    assert parsed(junit.as_text(nothing))[0].get("tests") == "0"
    assert json.loads(sarif.as_text(nothing))["runs"][0]["results"] == []
    assert github.commands(nothing) == []
    assert "no scenarios" in github.summary(nothing)


def test_a_source_outside_the_tree_is_named_whole(results):
    """What lies elsewhere is an address of its own, and no annotation of the repository."""
    results.scenarios[1].violations = [violation(source="/opt/a b.py:3")]
    (run,) = json.loads(sarif.as_text(results))["runs"]
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert uri == {"uri": "file:///opt/a%20b.py"}
    assert github.commands(results)[0].startswith("::error title=bad")


def test_a_command_has_no_file_in_junit():
    """Where there is no file, none is named, and the class is the tool."""
    one = ScenarioResult("it", verdict=Verdict.HELD, file="/somewhere/-")
    (case,) = parsed(junit.as_text(RunResult([one], 0, 1.0))).iter("testcase")
    assert (case.get("classname"), case.get("file")) == ("outlive", None)
