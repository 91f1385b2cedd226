"""What failed once is struck first; what is known today fails nothing; what time is left goes deeper."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from outlive_harness.results.verdicts import Verdict

#: Wrong only where a recovery is crashed, too.
TWICE = """
@scenario(outputs="out")
def twice():
    text = "bad" if Path("again").exists() else "good"
    Path("again" if Path("half").exists() else "half").write_text("")
    put("out", text)
    for name in ("again", "half"):
        Path(name).unlink(missing_ok=True)
"""
GOOD = """
@scenario(outputs="out")
def good():
    put("out", "1111")
"""
PIPELINE = """
from pathlib import Path
from outlive_harness import scenario

@scenario(outputs={outputs!r})
def report():
    {before}
    for number in range(8):
        Path(f"step{{number}}").write_text("done")
    {write}
    {after}
"""
IN_PLACE = {"outputs": "out", "before": "pass", "after": "pass", "write": "Path('out').write_text('xxxx')"}
WHOLE = "Path('t').write_text('xxxx'); Path('t').rename('out')"


@pytest.fixture
def outlive(tmp_path, monkeypatch):
    """Run the command line in a project; return (status, output, errors)."""
    (tmp_path / "scenarios").mkdir()
    monkeypatch.chdir(tmp_path)

    def run(*argv):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "outlive_harness", *argv],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


def pipeline(**parts):
    Path("scenarios/report.py").write_text(PIPELINE.format(**IN_PLACE | parts))


def read(path):
    return json.loads(Path(path).read_text())


# -- what time is left -----------------------------------------------------------------------------


def test_time_that_is_left_goes_deeper(one):
    """A failure that takes two crashes is found by a budget, though nobody asked for two."""
    assert one(TWICE).verdict is Verdict.HELD
    result = one(TWICE, budget=60.0)
    assert result.verdict is Verdict.VIOLATED
    assert {violation.kind for violation in result.violations} == {"diverged"}
    assert all(violation.point.count("+") == 1 for violation in result.violations)


def test_deeper_plans_are_counted_and_leave_no_gap(one):
    """All that was asked for was done, so the verdict is held, and says how many plans were tried besides."""
    # So few ops that all is done long before the time is up.
    source = GOOD.replace('put("out", "1111")', 'Path("out").touch()')
    result = one(source, budget=60.0, faults=("kill", "eio"), seed=5)
    assert result.verdict is Verdict.HELD
    deeper = sum(coverage.deeper for coverage in result.faults.values())
    assert deeper > 0
    assert f"{deeper} deeper plans, seed 5" in result.reason
    assert all(one.tested == one.chosen for one in result.faults.values())


# -- what failed once ------------------------------------------------------------------------------


def test_what_failed_once_is_struck_first(outlive):
    """A sample of one point misses the failure; once it was found, no sample does."""
    pipeline(outputs=["out", "late"], after="Path('l').touch(); Path('l').rename('late')")
    sample = ("test", "--points", "1", "--seed", "1")
    assert outlive(*sample)[0] == 3  # and says that it may
    status, out, _ = outlive("test")
    assert status == 1
    assert "kept in scenarios/regressions/report.json: tried first from now on; commit it" in out
    status, out, _ = outlive(*sample)
    assert status == 1
    assert "torn-output" in out


def test_a_loss_that_was_made_impossible_is_dropped(outlive):
    """With the fsync that was missing no disk leaves the state that failed: it is let go of."""
    source = """
import os
from outlive_harness import scenario

@scenario(outputs="out", faults=("power",))
def report():
    with open("t", "w") as file:
        file.write("xxxx")
        file.flush()
        {sync}
    os.rename("t", "out")
"""
    Path("scenarios/report.py").write_text(source.format(sync="pass"))
    assert outlive("test")[0] == 1
    assert read("scenarios/regressions/report.json")["failures"]
    Path("scenarios/report.py").write_text(source.format(sync="os.fsync(file.fileno())"))
    status, out, _ = outlive("test")
    assert status == 0, out
    assert "is durable (" in out
    assert read("scenarios/regressions/report.json")["failures"] == []


def test_a_loss_that_the_disk_at_hand_does_not_show_is_left_alone(outlive):
    """What failed on a disk that promises nothing fails none that keeps order; it stays in the file."""
    source = """
import os, sys
from outlive_harness import scenario

@scenario(outputs="out", faults=("power",))
def report():
    if os.path.exists("b") and not os.path.exists("a"):
        sys.exit("only b")
    for name in ("a", "b", "out"):
        open(name, "w").close()
"""
    Path("scenarios/report.py").write_text(source)
    assert outlive("test")[0] == 1
    kept = read("scenarios/regressions/report.json")["failures"]
    assert kept
    status, out, _ = outlive("test", "--profile", "ext4")
    assert status == 0, out
    assert f"{kept[0]['point']} is not tried: no disk as ext4 leaves what failed" in out
    assert read("scenarios/regressions/report.json")["failures"] == kept
    assert outlive("test", "--profile", "posix")[0] == 1


def test_a_deep_failure_is_kept(outlive):
    """A random plan of two crashes, once found, is a trial of every run; where it is gone, it is dropped."""
    Path("scenarios/twice.py").write_text(
        "import os\nfrom pathlib import Path\nfrom outlive_harness import scenario\n"
        "def put(path, text):\n    Path('t').write_text(text)\n    os.replace('t', path)\n" + TWICE
    )
    assert outlive("test")[0] == 0
    assert outlive("test", "--budget", "60")[0] == 1
    status, out, _ = outlive("test")
    assert status == 1
    assert "+kill@" in out
    kept = "scenarios/regressions/twice.json"
    facts = read(kept)
    first = facts["failures"][0]
    first["marks"] = {number: ["open gone", 1] for number in first["marks"]}
    Path(kept).write_text(json.dumps(facts))
    status, out, _ = outlive("test")
    assert "is dropped: the pipeline has changed" in out
    assert "open gone" not in Path(kept).read_text()


def test_a_command_keeps_its_failures_under_the_store(outlive):
    """It has no file of its own; two commands of one name do not share theirs."""
    for text in ("1", "2"):
        assert outlive("check", "--", "sh", "-c", f"printf {text}{text} > out")[0] == 1
    assert len(list(Path(".outlive/regressions").iterdir())) == 2
    assert not Path("regressions").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "cannot be read"), ('{"schema": 9}', "another version"), ('{"schema": 1}', "cannot be read")],
)
def test_a_damaged_file_of_failures_keeps_no_other_scenario_from_running(outlive, text, said):
    """Its own is unknown and says why, and the exit status is 2; of a command's file, too."""
    pipeline()
    other = 'from outlive_harness import scenario\nother = scenario(command=["sh", "-c", "mkdir -p d"])\n'
    Path("scenarios/other.py").write_text(other)
    Path("scenarios/regressions").mkdir()
    Path("scenarios/regressions/report.json").write_text(text)
    status, out, err = outlive("test", "--json", "r.json")
    assert status == 2
    assert "[1/1] other held" in out
    assert "scenarios/regressions/report.json" in err
    assert said in err
    one, damaged = read("r.json")["scenarios"]
    assert (one["verdict"], damaged["verdict"], damaged["name"]) == ("held", "unknown", "report")
    assert said in damaged["reason"]
    assert outlive("check", "--", "sh", "-c", "printf 11 > out")[0] == 1
    (kept,) = Path(".outlive/regressions").iterdir()
    kept.write_text(text)
    status, out, err = outlive("check", "--json", "r.json", "--", "sh", "-c", "printf 11 > out")
    assert status == 2
    assert said in read("r.json")["scenarios"][0]["reason"]


# -- what is known ---------------------------------------------------------------------------------


def test_a_baseline_fails_for_what_is_new_and_for_what_is_gone(outlive):
    """Known today: held. One more: violated. One gone: violated, until it is taken out."""
    pipeline()
    known = ("test", "--baseline", "known.json")
    status, _, err = outlive(*known)
    assert status == 2
    assert "--update-baseline writes it" in err
    status, out, err = outlive(*known, "--update-baseline")
    assert status == 0
    assert "1 known violation in known.json" in err
    status, out, _ = outlive(*known)
    assert status == 0
    assert "known: torn-output of out" in out
    pipeline(outputs=["out", "other"], after="Path('other').write_text('yyy')")
    status, out, _ = outlive(*known)
    assert status == 1
    assert "torn-output: other is visible half-written" in out
    assert "torn-output: out " not in out
    pipeline(write=WHOLE)
    status, out, _ = outlive(*known)
    assert status == 1
    assert "gone: torn-output of out (kill); known.json still lists it" in " ".join(out.split())
    assert outlive(*known, "--update-baseline")[0] == 0
    assert read("known.json")["violations"] == []
    assert outlive(*known)[0] == 0


def test_a_fault_that_was_not_struck_with_is_not_gone(outlive):
    """Nor is it taken out of the file by a run without it."""
    pipeline()
    known = ("--baseline", "known.json")
    assert outlive("test", "--faults", "kill,full", *known, "--update-baseline")[0] == 0
    before = read("known.json")
    assert {one["fault"] for one in before["violations"]} == {"kill", "full"}
    assert outlive("test", *known)[0] == 0
    assert outlive("test", *known, "--update-baseline")[0] == 0
    assert read("known.json") == before


def test_a_sample_shows_nothing_gone(outlive):
    """One point of many does not see it: it is not said to be gone, and an update keeps it."""
    pipeline(outputs=["out", "late"], after="Path('l').touch(); Path('l').rename('late')")
    known = ("--baseline", "known.json")
    assert outlive("test", *known, "--update-baseline")[0] == 0
    before = read("known.json")
    sample = ("test", *known, "--points", "1", "--seed", "1")
    status, out, _ = outlive(*sample)
    assert (status, "known: torn" in out, "gone" in out) == (3, False, False)
    assert outlive(*sample, "--update-baseline")[0] == 3
    assert read("known.json") == before


def test_reports_say_that_it_is_known(outlive):
    """SARIF suppresses it, JUnit has no failure, and a workflow no annotation."""
    pipeline()
    known = ("test", "--baseline", "known.json")
    outlive(*known, "--update-baseline")
    status, out, _ = outlive(*known, "--sarif", "s", "--junit", "j", "--html", "h", "--github")
    assert status == 0
    (entry,) = read("s")["runs"][0]["results"]
    assert entry["suppressions"][0]["kind"] == "external"
    assert "<failure" not in Path("j").read_text()
    assert "the baseline lists it" in Path("h").read_text()
    assert "::error" not in out


@pytest.mark.parametrize("text", ["[]", "{", '{"schema": 7}', '{"schema": 1, "violations": [{"kind": 1}]}'])
def test_a_damaged_baseline_is_refused(outlive, text):
    """Exit status 2, before anything runs."""
    pipeline()
    Path("known.json").write_text(text)
    status, out, err = outlive("test", "--baseline", "known.json")
    assert (status, out) == (2, "")
    assert "known.json" in err


def test_a_baseline_to_be_written_must_be_named(outlive):
    """--update-baseline alone is refused."""
    pipeline()
    status, _, err = outlive("test", "--update-baseline")
    assert status == 2
    assert "--baseline FILE" in err


def test_pytest_takes_a_baseline(outlive):
    """The same file serves both doors."""
    pipeline()
    assert outlive("test", "--baseline", "known.json", "--update-baseline")[0] == 0
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "scenarios"]
    for more, status in (([], 1), (["--outlive-baseline", "known.json"], 0)):
        done = subprocess.run([*run, *more], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == status, done.stdout
