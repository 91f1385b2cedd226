"""The words of a failure: what is told of it first, and what is no news."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from outlive_harness.disk.tree import Entry
from outlive_harness.explain.task import explain
from outlive_harness.explore.engine import explore
from outlive_harness.explore.merge import warnings_of
from outlive_harness.explore.observer import Silent
from outlive_harness.golden.record import Record
from outlive_harness.report.json_report import as_data
from outlive_harness.report.sarif import _RULES
from outlive_harness.report.text import details
from outlive_harness.report.text import explain as told
from outlive_harness.results.findings import Violation
from outlive_harness.results.ops import Op
from outlive_harness.results.options import Options
from outlive_harness.results.run_spec import is_of_interpreter
from outlive_harness.results.scenario_files import load_file
from outlive_harness.results.verdicts import RunResult, ScenarioResult, Verdict
from outlive_harness.results.violations import VIOLATIONS, gravity
from outlive_harness.trial.recording import Recording

#: Refuses to run again in words of several lines, after it wrote its output in place.
REFUSES = """
    @scenario(outputs="out")
    def it():
        if Path("lock").exists():
            print("a hint on standard output")
            {}
        with open("out", "w") as f:
            f.write("x" * 9)
        Path("lock").touch()
        Path("end").mkdir()
"""


def test_a_failed_recovery_names_its_error_and_leads(one):
    """The type and the first line of the message; what readers saw for a while comes after it."""
    result = one(REFUSES.format("raise ValueError('first line\\nsecond line')"))
    assert [found.kind for found in result.violations][-1] == "torn-output"
    failed = next(found for found in result.violations if found.fault)
    assert failed.kind == "recovery-failed"
    assert failed.message == "the pipeline, run again after the crash, exited with 1: ValueError: first line"
    assert failed.detail.endswith("\nsecond line")
    assert result.reason == result.violations[0].message


def test_a_failed_recovery_that_says_it_on_standard_output_is_heard(one):
    """Its standard error is empty."""
    result = one(REFUSES.format("os._exit(4)").replace('standard output")', 'standard output", flush=True)'))
    failed = next(found for found in result.violations if found.fault)
    assert failed.message.endswith("exited with 4: a hint on standard output (on standard output)")
    assert failed.detail.endswith("ends with:\na hint on standard output")


def test_paths_in_the_box_are_told_as_they_are_from_there(one):
    """No box is there any more when the report is read, and each worker's has another name."""
    result = one(REFUSES.format("raise FileNotFoundError(os.getcwd() + '/in/a of ' + os.getcwd())"))
    failed = next(found for found in result.violations if found.fault)
    assert failed.message.endswith("exited with 1: FileNotFoundError: in/a of {box}")
    assert "outlive-" not in failed.detail


def test_a_program_that_fails_with_no_fault_is_heard_there_too(one):
    """The verdict is unknown, with what it said."""
    result = one("@scenario(outputs='o')\ndef it():\n    print('no input', flush=True)\n    os._exit(3)")
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason.splitlines() == [
        "the pipeline fails with no fault: it exited with 3: no input (on standard output)",
        "its standard error is empty; its standard output ends with:",
        "no input",
    ]


def test_what_is_there_is_said_of_a_file_that_has_its_size(one):
    """A power cut that keeps the size and loses the data leaves zeros; what was kept is told beside that."""
    result = one(
        "@scenario(outputs='out', faults=('power',), profile='ext4')\n"
        "def it():\n    Path('t').write_bytes(b'x' * 9)\n    os.replace('t', 'out')"
    )
    (found,) = [found for found in result.violations if found.kind == "torn-output"]
    assert "0 of 9 bytes" in found.message or "right size, zeros from byte 0 on" in found.message
    assert found.stayed
    lines = told(found)
    kept = next(line for line in lines if line.startswith("  kept: "))
    assert "rename t -> out" in kept
    assert lines[lines.index(kept) - 1].startswith("  lost: 2 write t (9 bytes)")


def op(kind, path="a", target="", flags=0):
    return Op(kind, kind, path, target, flags=flags)


@pytest.mark.parametrize(
    ("lost", "at", "kept"),
    [
        ((), 7, []),
        (("2",), 2, []),
        (("2",), 6, ["4 rename a -> b", "6 open c"]),
        (("1",), 4, ["4 rename a -> b"]),
        (("2", "4"), 6, ["6 open c"]),
        (("2.1", "2.2"), 4, ["a part of 2 write a (0 bytes)", "4 rename a -> b"]),
        (("2", "4", "6"), 6, []),
    ],
)
def test_what_a_power_cut_kept_is_what_comes_after_the_first_that_it_lost(lost, at, kept):
    """Neither what only made earlier ops durable, nor an open that changes nothing."""
    ops = [op("mkdir"), op("write"), op("fsync"), op("rename", "a", "b"), op("open", "c")]
    ops += [op("open", "c", flags=os.O_CREAT), op("mkdir", "d")]
    assert Recording(b"", Path(), ops, starts=[0]).kept(lost, at) == kept


def test_what_earlier_runs_kept_has_their_number():
    """As the ids of what was lost have it."""
    tape = Recording(b"", Path(), [op("write", "a"), op("mkdir", "b"), op("mkdir", "c")], starts=[0, 2])
    assert tape.kept(("1/1",), 3) == ["1/2 mkdir b", "1 mkdir c"]


def test_litter_is_a_line_a_pattern():
    """A name alone is told as it is; points that leave several names of a pattern are counted once."""
    made = Record(SimpleNamespace(), Path("none"), final={"out/a": Entry("file", 0o644, 1, "")})
    littered = [(frozenset({f"out/{number}.tmp", f"out/{number + 1}.tmp"}), 2) for number in range(50)]
    littered += [(frozenset({"lock"}), 1), (frozenset({".tmp/*"}), 3), (frozenset(), 7)]
    assert warnings_of(littered, made) == [
        "litter: lock is left behind after 1 crash point",
        "litter: .tmp/* is left behind after 3 crash points",
        "litter: out/*.tmp is left behind after 100 crash points (51 names)",
    ]
    assert warnings_of([], made) == []


def test_what_an_interpreter_keeps_for_itself_is_no_litter(one):
    """Its directory of a session stays when it is killed; one of the program's own there is told."""
    for names, is_told in ((("Rtmp", "pymp-", "hsperfdata_"), False), (("mine",), True)):
        result = one(f"""
            @scenario(outputs="out")
            def it():
                made = [tempfile.mkdtemp(prefix=name) for name in {names}]
                put("out", "x")
                for name in made:
                    os.rmdir(name)
        """)
        litter = [warning for warning in result.warnings if warning.startswith("litter: .tmp/")]
        assert bool(litter) == is_told
    assert is_of_interpreter("/tmp/hsperfdata_me/4711")
    assert not is_of_interpreter("/srv/Rtmp/x")
    assert is_of_interpreter(".tmp/ab1_d9x0", 4)  # tempfile looks whether it may write there
    assert not is_of_interpreter(".tmp/ab1_d9x0")  # a directory
    assert not is_of_interpreter(".tmp/ab1_d9x0", 5)


def test_all_kinds_have_their_weight():
    """Each kind that a report knows; the gravest is the one that needs no crash."""
    assert set(_RULES) - {"unknown"} == set(VIOLATIONS)
    assert gravity("not-idempotent") == 0
    assert gravity("recovery-failed") < gravity("diverged") < gravity("torn-output") < gravity("unknown")


def test_nothing_is_explained_where_the_first_violation_ends_it(tmp_path, session):
    """Unless that is asked for by name."""
    path = tmp_path / "it.py"
    path.write_text(
        "from outlive_harness import scenario\n"
        "@scenario(outputs='o')\ndef it():\n    open('o', 'w').write('x')\n"
    )
    for wanted, expected in (("auto", False), ("all", True)):
        options = Options(store=tmp_path / "store", fail_fast=True, explain=wanted)
        (result,) = explore(session, load_file(path), options, explain=explain).scenarios
        assert [bool(found.source) for found in result.violations] == [expected]


class Interrupting(Silent):
    """Interrupts the run once something was found."""

    def found(self, _name, _trial):
        raise KeyboardInterrupt


def test_an_interrupted_scenario_tells_its_seconds(tmp_path, session):
    """As one that was explored to its end."""
    path = tmp_path / "it.py"
    path.write_text(
        "from outlive_harness import scenario\n"
        "@scenario(outputs='o')\ndef it():\n    open('o', 'w').write('x')\n"
    )
    run = explore(session, load_file(path), Options(store=tmp_path / "store"), Interrupting())
    assert run.interrupted
    assert run.scenarios[0].reason == "interrupted"
    assert run.scenarios[0].seconds > 0


def test_a_package_is_told_below_the_line_and_in_the_json():
    """With what was kept; fields are added and none is changed."""
    found = Violation(
        "torn-output", "power", "power@3-2", "rename t -> o", "o", "m", "", "it:power@3-2", "posix",
        lost=("2 write t",), stayed=("3 rename t -> o",), source="pipe.py:3",
        within="acme 1.2: acme/io.py:9 in put", advice="do it", stack=("pipe.py:3", "pipe.py:8"),
    )  # fmt: skip
    lines = told(found)
    at = lines.index("  from: pipe.py:3")
    assert lines[at + 1 : at + 3] == [
        "        by way of acme 1.2: acme/io.py:9 in put",
        "        called at pipe.py:8",
    ]
    one = ScenarioResult("it", Verdict.VIOLATED, violations=[found])
    (data,) = as_data(RunResult([one], 0, 1.0))["scenarios"][0]["violations"]
    assert (data["line"], data["within"], data["advice"]) == ("pipe.py:3", found.within, "do it")
    assert (data["lost"], data["kept"]) == (["2 write t"], ["3 rename t -> o"])
    assert details(one)[0] == "torn-output: m"
