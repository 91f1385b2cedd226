"""A scenario whose declared faults are left out by the options is skipped, and fails nothing."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from outlive_harness.explore.engine import explore
from outlive_harness.results.options import Options
from outlive_harness.results.scenario_files import load_file
from outlive_harness.results.verdicts import Exit, RunResult, ScenarioResult, Verdict

SHIPPED = Path(__file__).parents[3] / "scenarios"
#: Writes in place, and syncs nothing: any kill tears it; renames without an fsync: only a power cut does.
TORN = "@scenario(outputs='o', {more})\ndef torn():\n    open('o', 'w').write('x' * 9)\n"
UNSYNCED = (
    "@scenario(outputs='o', {more})\n"
    "def unsynced():\n    open('t', 'w').write('x' * 9)\n    os.rename('t', 'o')\n"
)
#: What it replaces: a disk as ext4-ordered writes the new content before the name.
OLD = "setup=lambda: open('o', 'w').write('x' * 8)"


@pytest.mark.parametrize(
    ("source", "more", "options", "verdict", "reason"),
    [
        # Nothing that it declares is asked for.
        (TORN, "faults='power'", {"faults": ("kill", "eio")}, "skipped", "was asked for (kill, eio)"),
        # What it needs is one of those left out, and so cannot be missed.
        (UNSYNCED, "faults=('kill', 'power'), expect='torn-output'", {"faults": ("kill",)}, "skipped",
         "no torn-output by kill alone: the options leave out what it also names: power"),
        (UNSYNCED, f"faults='power', expect='torn-output', {OLD}", {"profile": "ext4-ordered"}, "skipped",
         "also names: a disk as posix"),
        (UNSYNCED, f"faults='power', expect='torn-output', {OLD}", {"profile": "posix"}, "held", "caught"),
        # One that names no fault is shown by the default.
        (TORN, "expect='torn-output'", {"faults": ("eio",)}, "skipped", "also names: kill"),
        # All that it declares was there, and did not show it.
        (UNSYNCED, "faults='kill', expect='torn-output'", {"faults": ("kill", "power")}, "violated",
         "expected torn-output"),
        (UNSYNCED, "expect='torn-output'", {}, "violated", "expected torn-output"),
        # What is left is enough.
        (TORN, "faults=('kill', 'power'), expect='torn-output'", {"faults": ("kill",)}, "held", "caught"),
        # What could not be tested, or not all of what was asked for, is unknown as ever.
        (TORN, "faults=('kill', 'power'), expect='diverged', setup=lambda: 1 / 0", {"faults": ("kill",)},
         "unknown", "ZeroDivisionError"),
        (UNSYNCED, "faults=('kill', 'power'), expect='torn-output'", {"faults": ("kill",), "budget": 1e-6},
         "unknown", "0 of"),
        # A good one is judged by what was asked for.
        (UNSYNCED, "faults=('kill', 'power')", {"faults": ("kill",)}, "held", ""),
    ],
)  # fmt: skip
def test_what_is_left_out_cannot_be_missed(one, source, more, options, verdict, reason):
    """Skipped is what the options leave out alone: neither what was tried, nor what broke."""
    result = one(source.format(more=more), explain="none", **options)
    assert (str(result.verdict), reason in result.reason) == (verdict, True), result.reason


def test_the_worst_of_several_is_never_one_that_was_skipped():
    """It fails nothing, and where there is nothing else the verdict is no held."""

    def run(*words):
        return RunResult([ScenarioResult(word, Verdict(word)) for word in words], 0, 0.0)

    assert run("skipped", "held").verdict is Verdict.HELD
    assert run("skipped", "unknown").exit_status is Exit.UNKNOWN
    assert run("skipped", "violated").exit_status is Exit.VIOLATED
    assert run("skipped", "skipped").verdict is Verdict.SKIPPED
    assert run("skipped").exit_status is Exit.HELD


def test_known_bad_scenarios_are_judged_by_what_was_asked_for(session, tmp_path):
    """Of those of the suite that name the faults that show them none fails where kill alone was asked for."""
    files = [load_file(path) for path in sorted(SHIPPED.glob("*.py"))]
    named = [one for several in files for one in several if one.expect and one.faults]
    assert len(named) > 10
    results = explore(
        session, named, Options(faults=("kill",), store=tmp_path / "s", explain="none")
    ).scenarios
    verdicts = [result.verdict for result in results]
    assert set(verdicts) <= {Verdict.SKIPPED, Verdict.HELD}, results  # a kill is enough for some
    assert verdicts.count(Verdict.SKIPPED) > 10


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """A suite of one scenario that holds, and two that a kill cannot show."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenarios").mkdir()
    unsynced = UNSYNCED.format(more="faults=('kill', 'power'), expect='diverged'")
    good = "@scenario(outputs='o')\ndef good():\n    os.makedirs('o', exist_ok=True)\n"
    last = TORN.format(more="faults='power'")
    text = f"import os\nfrom outlive_harness import scenario\n\n{good}\n{unsynced}\n{last}"
    (tmp_path / "scenarios" / "s.py").write_text(text)
    return tmp_path


def run(*argv):
    program = [sys.executable, "-P", "-m", "outlive_harness", *argv]
    return subprocess.run(program, capture_output=True, text=True, check=False, timeout=120)


def test_every_report_says_that_it_was_skipped_and_why(suite):
    """The exit status is that of what was judged; no format counts it as a failure, or as held."""
    reports = ["--json", "j", "--junit", "x", "--sarif", "s", "--html", "h", "--github"]
    done = run("test", "--faults", "kill", *reports)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "held: 1 held, 2 skipped; " in done.stdout
    assert "] unsynced skipped  " in done.stdout
    assert "::" not in done.stdout
    facts = json.loads(Path("j").read_text())
    assert (facts["verdict"], [one["verdict"] for one in facts["scenarios"]]) == (
        "held", ["held", "skipped", "skipped"],
    )  # fmt: skip
    reason = "none of its faults (power) was asked for (kill)"
    last = facts["scenarios"][2]
    assert (last["reason"], last["faults"], last["violations"]) == (reason, {}, [])
    tests = ET.fromstring(Path("x").read_text())[0]  # noqa: S314 - our own
    assert [tests.get(key) for key in ("tests", "failures", "errors", "skipped")] == ["3", "0", "0", "2"]
    assert [case.find("skipped") is not None for case in tests.findall("testcase")] == [False, True, True]
    assert tests.findall("testcase")[2].find("skipped").get("message") == reason
    (sarif,) = json.loads(Path("s").read_text())["runs"]
    assert sarif["results"] == []
    notes = sarif["invocations"][0]["toolExecutionNotifications"]
    assert [(note["level"], note["message"]["text"]) for note in notes][1] == (
        "note",
        f"torn: skipped: {reason}",
    )
    assert reason in Path("h").read_text()
    assert not (suite / ".outlive" / "failures").exists()


def test_what_is_known_of_one_that_was_skipped_stays_known(suite):
    """A baseline that is written anew says of it what it said."""
    (suite / "scenarios" / "s.py").write_text(
        "from outlive_harness import scenario\n" + TORN.format(more="faults=['kill']")
    )
    known = ("--baseline", "known.json")
    assert run("test", *known, "--update-baseline").returncode == 0
    before = Path("known.json").read_text()
    assert "torn-output" in before
    assert run("test", "--faults", "eio", *known, "--update-baseline").returncode == 0
    assert Path("known.json").read_text() == before
    assert run("test", "--faults", "eio", *known).returncode == 0


@pytest.mark.usefixtures("suite")
def test_pytest_skips_it():
    """Its item is skipped with the reason; in the summary it is no failure."""
    options = ["-q", "-rs", "-p", "no:cacheprovider", "--outlive-faults=kill"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "scenarios", *options],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "1 passed, 2 skipped" in done.stdout
    assert "none of its faults (power) was asked for (kill)" in done.stdout
    assert "the options leave out what it also names: power" in done.stdout
