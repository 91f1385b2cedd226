"""The reports, made from results that no run gives twice."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from outlive_harness.report import json_report
from outlive_harness.report.escaped import quoted, visible, visible_lines
from outlive_harness.report.files import check_target, write_text
from outlive_harness.report.terminal import Live, console, summary
from outlive_harness.report.text import details, explain, note, replay_line
from outlive_harness.results.findings import Finding, Violation
from outlive_harness.results.plan import parse_plan
from outlive_harness.results.trials import Outcome, Trial
from outlive_harness.results.verdicts import Coverage, RunResult, ScenarioResult, Verdict

#: Variables of the surroundings that change how reports look.
LOOKS = ("CI", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
ODD = "a\nb\x1b[31m[red]\udcff'"


def violation(number=1, **fields):
    plain = {
        "kind": "torn-output", "fault": "kill", "point": f"kill@{number}", "op": "write out (4 bytes)",
        "path": "out", "message": f"out is visible half-written: {number} of 9 bytes", "detail": "golden: x",
        "replay": f"one:kill@{number}",
    }  # fmt: skip
    return Violation(**plain | fields)


def result(name="one", verdict=Verdict.HELD, **fields):
    faults = fields.pop("faults", {"kill": Coverage(7, 7, 5)})
    return ScenarioResult(name, verdict, faults=faults, ops=7, seconds=1.25, **fields)


def printed(results, *, width=100, colour=None, interrupted=False):
    """Print what a run prints, and return it."""
    out = Console(file=io.StringIO(), width=width, highlight=False, soft_wrap=True, color_system=colour,
                  force_terminal=colour is not None)  # fmt: skip
    with Live(out, len(results)) as live:
        for one in results:
            live.started(one.name)
            live.progressed(one.name, "kill", 1, 7)
            live.finished(one)
    summary(out, RunResult(results, 3, 2.0, interrupted))
    return out.file.getvalue()


def test_the_table_and_the_last_line_add_up():
    """Each scenario has a row with its counts, and the last line has the totals, the rate and the seed."""
    results = [
        result(),
        result("two", Verdict.UNKNOWN, reason="not here\nmore", faults={"kill": Coverage(8, 3, 2)}),
        result("bad", expected=("torn-output",), violations=[violation()]),
    ]
    text = printed(results)
    assert text.endswith(
        "\n"
        "scenario  verdict             ops  points  states  seconds  note\n"
        "one       held                  7     7/7       5      1.2\n"
        "two       unknown               7     3/8       2      1.2  not here\n"
        "bad       caught torn-output    7     7/7       5      1.2\n"
        "\n"
        "unknown: 1 unknown, 2 held (1 known bad, and caught); 17 crash points, 12 states in 2.0 s, "
        "8 points a second; seed 3\n"
    )
    assert "    not here\n    more\n" in text


def test_a_caught_scenario_is_no_alarm():
    """Its violations are a line each that says so, without details and without a replay line."""
    several = [violation(2, points=5), violation(3)]
    litter = ["litter: a is left"]
    one = result(expected=("torn-output",), violations=several, warnings=[*litter, "other"], litter=litter)
    assert details(one) == [
        "as expected: torn-output of out at kill@2 (and at 4 more points)",
        "as expected: torn-output of out at kill@3",
        "warning: other",
    ]


def test_a_known_bad_scenario_that_was_not_caught_is_an_alarm():
    """What was expected is told first, then what was found in its place, with its replay line."""
    one = result(
        verdict=Verdict.VIOLATED, expected=("litter",), violations=[violation()],
        reason="expected litter, but no such violation was found",
    )  # fmt: skip
    lines = details(one)
    assert lines[0] == "expected litter, but no such violation was found"
    assert "  replay: outlive replay one:kill@1" in lines
    assert note(one) == lines[0]


def test_a_violation_says_what_where_how_and_how_again():
    """One sentence, the op, the difference, the boxes and the line to paste."""
    assert explain(violation(3, points=2, detail="golden: x\nhere:   y", kept="/kept", confirmed=True)) == [
        "torn-output: out is visible half-written: 3 of 9 bytes",
        "  injected at kill@3, before: write out (4 bytes) (and at 1 more point)",
        "  golden: x",
        "  here:   y",
        "  boxes:  /kept",
        "  replay: outlive replay one:kill@3",
    ]


def test_a_violation_without_a_crash_has_nothing_to_replay():
    """What a second run with no fault changes is told without a point and without a line to paste."""
    one = violation(kind="not-idempotent", fault="", point="", op="", replay="", detail="", message="m")
    assert explain(one) == ["not-idempotent: m"]
    assert replay_line(one) == ""


def test_a_violation_that_was_not_seen_again_says_so():
    """A second run of the plan that did not show it makes it doubtful, and that is told."""
    assert any("seen once" in line for line in explain(violation(confirmed=False)))


def test_many_violations_and_long_details_are_cut_and_the_cut_is_told():
    """Three in full, seven in a line and its replay, the rest counted; of a long text the last lines."""
    many = result(
        verdict=Verdict.VIOLATED, violations=[violation(k, detail="\n".join("abc")) for k in range(1, 15)]
    )
    lines = details(many)
    assert sum(line.startswith("torn-output: ") for line in lines) == 3
    assert sum(line.startswith("torn-output of out at ") for line in lines) == 7
    assert lines[-1] == "... and 4 more violations; --json FILE lists all of them"
    assert sum("replay: outlive replay" in line for line in lines) == 10
    long = explain(violation(detail="\n".join(map(str, range(100)))))
    assert "  ... 80 lines before these" in long
    assert "  99" in long
    assert "  79" not in long


def test_warnings_of_a_kind_are_told_once():
    """Files outside come by the dozen, and one line says how many; a pattern of litter has one each."""
    litter = [f"litter: {name} is left" for name in "abcdefg"]
    warnings = [*litter, "writes outside its box: /x", "writes outside its box: /y", "plain"]
    assert details(result(warnings=warnings, litter=litter)) == [
        *(f"warning: {one}" for one in litter[:4]),
        "warning: litter: e is left (and 2 more like it)",
        "warning: writes outside its box: /x (and 1 more like it)",
        "warning: plain",
    ]


@pytest.mark.parametrize("width", [1, 8, 20, 40, 80, 200])
def test_no_terminal_is_too_narrow(width):
    """Every name, verdict and count is there, and replay lines are never broken."""
    name = "a_scenario_with_a_rather_long_name_that_no_column_would_hold"
    text = printed(
        [result(name, Verdict.VIOLATED, violations=[violation(replay=f"{name}:kill@1")]), result("b")],
        width=width,
    )
    assert f"outlive replay {name}:kill@1\n" in text
    assert text.count(name) == 3
    assert text.count("7/7") == 4


def test_names_are_shown_as_they_are_and_rule_nothing():
    """Neither control characters, nor bytes that are no UTF-8, nor rich's markup reach the terminal."""
    odd = violation(
        path=ODD, message=f"{ODD} is torn", op=f"write {ODD}", detail=f"a\t{ODD}", replay=f"{ODD}:kill@1"
    )
    for verdict in (Verdict.VIOLATED, Verdict.UNKNOWN):
        text = printed(
            [result(ODD, verdict, reason=ODD, violations=[odd], warnings=[ODD], expected=("litter",))]
        )
        text.encode("ascii")
        assert "\x1b" not in text
        assert "a\\nb\\x1b[31m[red]\\udcff'" in text


def test_colours_are_there_only_where_they_are_wanted(monkeypatch):
    """The verdict has its colour on a console that has them, and no control sequence elsewhere."""
    assert "\x1b[31mviolated\x1b[0m" in printed([result(verdict=Verdict.VIOLATED)], colour="standard")
    assert "\x1b" not in printed([result(verdict=Verdict.VIOLATED)])
    for key, expected in (("NO_COLOR", None), ("FORCE_COLOR", "standard")):
        monkeypatch.setenv(key, "1")
        monkeypatch.setenv("TERM", "xterm")
        assert console().color_system == expected
        monkeypatch.delenv(key)


def test_no_scenarios_are_no_table():
    """Only the last line is left, and nothing tested is unknown."""
    assert printed([]) == (
        "\nunknown: no scenarios; 0 crash points, 0 states in 2.0 s, 0 points a second; seed 3\n"
    )


def test_an_interrupted_run_says_so():
    """The last line ends with it, and the verdict is not held."""
    text = printed([result()], interrupted=True)
    assert text.splitlines()[-1].startswith("unknown: ")
    assert text.endswith("; interrupted\n")


def test_a_log_hears_something_where_a_scenario_takes_long(monkeypatch):
    """After half a minute of silence progress is a line."""
    out = Console(file=io.StringIO(), width=80)
    live = Live(out, 1)
    live.progressed("one", "kill", 1, 900)
    assert out.file.getvalue() == ""
    monkeypatch.setattr(live, "_spoke", live._spoke - 31)
    live.progressed("one", "kill", 400, 900)
    live.progressed("one", "kill", 401, 900)
    assert out.file.getvalue() == "... one kill: 400 of 900 points\n"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def struck(path="out", kind="torn-output"):
    return Trial(parse_plan("kill@3"), outcome=Outcome.JUDGED, findings=[Finding(kind, path, "it is wrong")])


def test_a_log_hears_what_was_found_so_far(monkeypatch):
    """Each kind and file once, with the next word of progress."""
    out = Console(file=io.StringIO(), width=200)
    live = Live(out, 1)
    for trial in (struck(), struck(), struck("a\nb", "diverged")):
        live.found("one", trial)
    assert out.file.getvalue() == ""
    monkeypatch.setattr(live, "_spoke", live._spoke - 31)
    live.progressed("one", "kill", 4, 9)
    assert (
        out.file.getvalue() == "... one kill: 4 of 9 points; so far: torn-output of out, diverged of a\\nb\n"
    )


def test_what_is_known_before_the_trials_is_told_at_once():
    """To a log as well: what the recording shows, each kind and file once, and what the trials will take."""
    out = Console(file=io.StringIO(), width=200)
    live = Live(out, 1)
    for trial in (struck(), struck(), struck("a\nb")):
        live.seen("one", trial)
    live.foretold("one", "9 points, about 3 min")
    live.found("one", struck())
    assert out.file.getvalue().splitlines() == [
        "... one torn-output of out at kill@3, in the recording; its recovery is tried first",
        "... one torn-output of a\\nb at kill@3, in the recording; its recovery is tried first",
        "... one 9 points, about 3 min",
    ]


def test_what_only_a_recording_showed_is_told_apart():
    """Unless a trial confirmed it later; the JSON says both."""
    line = "  seen in the recording of a run alone: no trial of this plan began before the budget ended"
    found = violation(from_recording=True)
    assert line in explain(found)
    assert line not in explain(violation(from_recording=True, confirmed=True))
    (data,) = json_report.scenario_data(result(violations=[found]))["violations"]
    assert (data["from_recording"], data["confirmed"]) == (True, None)


def test_a_log_hears_what_is_counted(monkeypatch):
    """Plans that are confirmed are no crash points."""
    out = Console(file=io.StringIO(), width=80)
    live = Live(out, 1)
    monkeypatch.setattr(live, "_spoke", live._spoke - 31)
    live.progressed("one", "confirming", 4, 9)
    assert out.file.getvalue() == "... one confirming: 4 of 9 plans\n"


@pytest.mark.parametrize("width", [30, 70, 200])
def test_a_terminal_shows_what_is_found_as_it_comes(width, monkeypatch):
    """With the rate and the time left where there is room; a known-bad scenario's findings are no news."""
    for name in LOOKS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out = Console(file=Terminal(), width=width, force_terminal=True, color_system=None)
    with Live(out, 2, expected=["bad"]) as live:
        for name in ("one", "bad"):
            live.started(name)
            live.progressed(name, "kill", 1, 900)
            live.found(name, struck())
            live.found(name, struck())
        live.progressed("one", "torn", 1, 900)
        live.progressed("one", "torn", 500, 900)
        live._bar.refresh()
        live.finished(result())
    text = out.file.getvalue()
    assert " ".join(text.split()).count("one torn-output of out at kill@3; to be confirmed") == 1
    assert "bad torn-output" not in text
    assert "one torn" in text
    assert "500/900" in text
    assert ("left" in text) == (width >= 70)


@pytest.mark.parametrize("text", ["plain:kill@1", "two words", "it's", ODD, "\\x41\n", "é\u202e", "", "-n\t"])
def test_a_quoted_text_is_printable_and_a_shell_gives_it_back(text):
    """Whatever is in a scenario's name, the replay line can be pasted."""
    assert quoted(text).isprintable()
    line = f"printf %s {quoted(text)}"
    assert subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout == os.fsencode(text)


def test_visible_keeps_what_can_be_read():
    """Letters of any language stay; what is invisible is escaped."""
    assert visible("naïve 文\u200b\x00\n") == "naïve 文\\u200b\\x00\\n"
    assert visible_lines("a\tb\nc\r") == ["a b", "c\\r"]


def test_json_is_ascii_and_keeps_every_byte_of_a_name():
    """A path that is no UTF-8 comes back from the report as it was."""
    one = result(ODD, Verdict.VIOLATED, violations=[violation(path=ODD)])
    text = json_report.as_text(RunResult([one], 0, 1.0))
    text.encode("ascii")
    (read,) = json.loads(text)["scenarios"]
    assert (read["name"], read["violations"][0]["path"]) == (ODD, ODD)


def test_the_json_file_is_replaced_as_a_whole_and_links_are_kept(tmp_path):
    """The new report takes the old one's place and permissions; nothing else is left."""
    target, link = tmp_path / "report.json", tmp_path / "link.json"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    check_target(link)
    write_text(link, json_report.as_text(RunResult([], 7, 1.0)))
    assert json.loads(target.read_text())["seed"] == 7
    assert target.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"link.json", "report.json"}


def test_the_json_report_goes_into_a_pipe_as_it_comes(tmp_path):
    """A FIFO is written to, neither replaced nor closed by the check before."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = subprocess.Popen(
        [sys.executable, "-c", f"print(open({str(fifo)!r}).read())"], stdout=subprocess.PIPE
    )
    check_target(fifo)
    write_text(fifo, json_report.as_text(RunResult([], 7, 1.0)))
    out, _ = reader.communicate(timeout=30)
    assert json.loads(out)["seed"] == 7
    assert fifo.is_fifo()


def test_the_json_target_is_tried_before_the_run(tmp_path):
    """A directory, or a directory that is not there, is refused; trying leaves nothing behind."""
    with pytest.raises(IsADirectoryError):
        check_target(tmp_path)
    with pytest.raises(FileNotFoundError):
        check_target(tmp_path / "nowhere" / "report.json")
    check_target(tmp_path / "report.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
def test_a_report_to_an_open_descriptor_is_added(target, tmp_path):
    """The log that standard output goes to keeps what was there, and what is said after."""
    (tmp_path / "link").symlink_to("/dev/stdout")
    code = (
        "import sys; from pathlib import Path; from outlive_harness.report.files import *\n"
        "path = Path(sys.argv[1]).absolute(); print('before'); check_target(path)\n"
        "write_text(path, 'report\\n'); print('after')"
    )
    log = tmp_path / "log"
    log.write_text("old\n")
    with log.open("a") as out:
        subprocess.run([sys.executable, "-c", code, target], stdout=out, cwd=tmp_path, check=True)
    assert log.read_text() == "old\nbefore\nreport\nafter\n"


def test_a_descriptor_that_is_only_read_is_refused(tmp_path):
    """What cannot be written there is found out before the run."""
    (tmp_path / "file").write_text("")
    with (tmp_path / "file").open() as file, pytest.raises(OSError, match="Bad file descriptor"):
        check_target(Path(f"/dev/fd/{file.fileno()}"))
