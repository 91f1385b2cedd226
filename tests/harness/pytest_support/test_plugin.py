"""The pytest door: items, outcomes, shared work, and nothing left behind."""

import ast
import html
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from outlive_harness.pytest_support.budget import Budget
from outlive_harness.pytest_support.crowd import Crowd

#: Shell pipelines: they start ten times as fast as those in Python.
SCENARIOS = """
from pathlib import Path
from outlive_harness import scenario

def shell(script, **more):
    return scenario(command=["sh", "-c", script], outputs="o*", **more)

good = shell("echo x > t && mv t o")
known_bad = shell("echo all of it > o", expect="torn-output")
unstable = shell("date +%N > t && mv t o")

@scenario(outputs="o")
def torn():
    Path("o").write_text("all of it")
"""
IDS = [f"scenarios/s.py::{name}[kill]" for name in ("good", "known_bad", "unstable", "torn")]
GOOD = """
from outlive_harness import scenario
{name} = scenario(command=["sh", "-c", "echo x > t && mv t o"], outputs="o")
"""
#: 25 points; each run notes where it ran, and takes a while.
LARGE = """
from outlive_harness import scenario
SCRIPT = 'pwd >> {log}; sleep {nap}; for i in 0 1 2 3 4 5 6 7 8 9 a b; do echo $i > t$i; done; mv t0 o'
large = scenario(command=["sh", "-c", SCRIPT], outputs="o")
"""


@pytest.fixture
def suite(pytester, monkeypatch):
    """A project of its own, with a directory for scenario files."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    real = pytester.runpytest_subprocess
    monkeypatch.setattr(pytester, "runpytest_subprocess", lambda *args: real(*args, timeout=120))
    (pytester.path / "scenarios").mkdir()
    pytester.makeini("[pytest]")
    return pytester


def write(suite, name, source):
    (suite.path / name).write_text(source)


def collected(suite, *arguments):
    done = suite.runpytest_inprocess("--collect-only", "-q", *arguments)
    return [line for line in done.outlines if "::" in line]


def test_a_run_without_scenarios_imports_almost_nothing(suite):
    """Every pytest run of every project pays for what the plugin imports."""
    write(suite, "test_one.py", "def test_one(): pass\n")
    code = (
        "import sys, pytest; before = set(sys.modules); import outlive_harness.plugin;"
        "print(sorted(set(sys.modules) - before));"
        "assert pytest.main(['-q', '-p', 'no:cacheprovider']) == 0;"
        "print(sorted(name for name in sys.modules if name.startswith(('outlive', 'psutil', 'rich'))))"
    )
    done = suite.run(sys.executable, "-c", code)
    assert done.ret == 0
    first, last = done.outlines[0], done.outlines[-1]
    light = (
        "globs", "instants", "keywords", "params", "reader_names", "scenario", "scenario_files",
        "value_kinds", "violations",
    )  # fmt: skip
    own = {"outlive_harness", *(f"outlive_harness.{name}" for name in ("plugin", "results", "scenario"))}
    assert set(ast.literal_eval(first)) <= own | {f"outlive_harness.results.{name}" for name in light}
    assert not re.search("psutil|rich|explore|driver|collect|faults", last), last


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
def test_outcomes_say_what_was_found_and_how_to_see_it_again(suite, workers):
    """One item a scenario, the same on all workers; held and caught pass, violated and unknown fail."""
    write(suite, "scenarios/s.py", SCENARIOS)
    done = suite.runpytest_subprocess("scenarios", "-v", "--junitxml=j.xml", *workers)
    done.assert_outcomes(passed=2, failed=2)
    text = done.stdout.str()
    assert set(re.findall(r"scenarios/s\.py::\w+\[\w+\]", text)) == set(IDS) == set(collected(suite))
    assert "torn-output: o is visible half-written: 0 of 9 bytes" in text
    assert "injected at kill@2, before: write o (9 bytes)" in text
    assert "replay: outlive replay torn:kill@2" in text
    assert "boxes:  .outlive/failures/torn-kill@2-" in text
    assert "unknown: nondeterministic: two runs with no fault differ in o" in text
    assert "Traceback" not in text
    done.stdout.re_match_lines(
        [
            r"good +kill +held +3/3 +3",
            r"known_bad +kill +caught torn-output +1/2",
            r"torn +kill +violated +2/2",
            r"unstable +kill +unknown +0/0",
            r"outlive replay torn:kill@2",
            r"1 violated, 1 unknown, 2 held .*--outlive-seed=0",
            r"FAILED scenarios/s\.py::\w+\[kill\] - NotHeld: (violated: torn-output|unknown: nondet)",
        ]
    )
    values = re.findall(r'name="outlive" value="([^"]*)"', (suite.path / "j.xml").read_text())
    results = {one["name"]: one for one in (json.loads(html.unescape(value)) for value in values)}
    assert results["good"]["faults"]["kill"]["points"] == 3
    assert {name: one["verdict"] for name, one in results.items()} == {
        "good": "held", "known_bad": "held", "unstable": "unknown", "torn": "violated",
    }  # fmt: skip


def test_one_item_can_be_chosen_and_replayed(suite):
    """The node id works on the command line, and the line that a failure prints works in the shell."""
    write(suite, "scenarios/s.py", SCENARIOS)
    done = suite.runpytest_subprocess("scenarios/s.py::torn[kill]")
    done.assert_outcomes(failed=1)
    replayed = suite.run(sys.executable, "-m", "outlive_harness", "replay", "torn:kill@2")
    assert replayed.ret == 1
    replayed.stdout.fnmatch_lines(["*torn-output: *"])


MARKED = """
import os, pytest
from outlive_harness import scenario
pytestmark = [pytest.mark.slow]
GOOD = {"command": ["sh", "-c", 'echo "$GIVEN" > t && mv t o && test -n "$GIVEN"'], "outputs": "o"}

skipped = pytest.mark.skip(reason="not today")(scenario(**GOOD))
with_fixture = pytest.mark.usefixtures("given")(scenario(**GOOD))
without = pytest.mark.xfail(reason="nothing given", strict=True)(scenario(**GOOD))
lost = pytest.mark.usefixtures("nowhere")(scenario(**GOOD))

@pytest.mark.skipif("os.sep == '/'", reason="on this system")
@scenario(outputs="o")
@pytest.mark.special
def conditional(): ...

@scenario(params={"n": [1, 2]})
@pytest.mark.skip
def several(n): ...
"""


def test_marks_do_what_they_do_to_tests(suite):
    """Skip, skipif, xfail and usefixtures are pytest's own; a mark of the file is that of each scenario."""
    suite.makeini("[pytest]\nmarkers =\n  slow\n  special\naddopts = --strict-markers\n")
    suite.makeconftest(
        "import pytest\n@pytest.fixture\ndef given(monkeypatch): monkeypatch.setenv('GIVEN', 'x')\n"
    )
    write(suite, "scenarios/s.py", MARKED)
    done = suite.runpytest_subprocess("scenarios", "-rA", "-m", "slow")
    done.assert_outcomes(passed=1, skipped=4, xfailed=1, errors=1)
    done.stdout.re_match_lines_random(
        [
            r"PASSED scenarios/s\.py::with_fixture\[kill\]",
            r"SKIPPED .*: not today",
            r"SKIPPED .*: on this system",
            r"XFAIL scenarios/s\.py::without\[kill\] - nothing given",
            r"E +fixture 'nowhere' not found",
        ]
    )
    assert collected(suite, "scenarios", "-m", "special") == ["scenarios/s.py::conditional[kill]"]
    assert collected(suite, "scenarios/s.py::several[2-kill]") == ["scenarios/s.py::several[2-kill]"]
    assert collected(suite, "scenarios", "-k", "several and 1") == ["scenarios/s.py::several[1-kill]"]


CONFIG = """
[tool.outlive]
faults = "kill,term"
seed = 7
ignore = "*.log"
jobs = 1
"""
CONFIGURED = """
from outlive_harness import scenario
logs = scenario(command=["sh", "-c", "date +%N > x.log; echo x > t && mv t o"])
own = scenario(command=["sh", "-c", "echo x > t && mv t o"], outputs="o", faults="kill")
"""
CONFIGURED_TEST = """
from outlive_harness import scenario
logs = scenario(command=["sh", "-c", "date +%N > x.log; echo x > t && mv t o"], name="logs")

def test_fixture(outlive):
    assert list(outlive.assert_held(logs, points=1).faults) == ["kill", "term"]
    assert list(outlive.assert_held(logs, points=1, faults="eio").faults) == ["eio"]
    assert outlive.check(logs.command, points=1).verdict == "held"
    assert outlive.ops(logs) == 5 and logs.ignore == ()
"""


def test_pyproject_says_the_same_under_pytest(suite):
    """Items, faults, patterns and the seed are those of outlive test; pytest's own options win."""
    write(suite, "scenarios/s.py", CONFIGURED)
    write(suite, "pyproject.toml", CONFIG)
    write(suite, "test_one.py", CONFIGURED_TEST)
    faults = ["logs[kill]", "logs[term]", "own[kill]"]
    assert collected(suite, "scenarios") == [f"scenarios/s.py::{name}" for name in faults]
    done = suite.runpytest_subprocess("scenarios", "test_one.py", "--outlive-points=1")
    done.assert_outcomes(passed=4)
    done.stdout.fnmatch_lines(["*--outlive-seed=7"])
    options = ("--outlive-faults=torn", "--outlive-seed=0")
    assert collected(suite, "scenarios", *options) == [
        "scenarios/s.py::logs[torn]", "scenarios/s.py::own[none]"
    ]  # fmt: skip
    write(suite, "pyproject.toml", CONFIG.replace("seed", "sed"))
    done = suite.runpytest_inprocess("scenarios")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(
        ["*pyproject.toml: [[]tool.outlive[]] sed=7 is not a key: did you mean 'seed'?"]
    )


def test_parametrize_says_what_to_write(suite):
    """A body runs in a process of its own, which pytest's parameters do not reach."""
    text = "import pytest\nfrom outlive_harness import scenario\n@scenario\n{}def f(n=0): ...\n"
    write(suite, "scenarios/s.py", text.format("@pytest.mark.parametrize('n', [1])\n"))
    done = suite.runpytest_inprocess("scenarios")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["*s.py:3: 'f' has @pytest.mark.parametrize, *: write @scenario(params=*"])


def test_a_file_elsewhere_is_collected_if_it_is_named(suite):
    """Wherever a scenario file is; one with tests is pytest's, and so is one that nobody names."""
    for name in ("here.py", "deep/there.py"):
        (suite.path / name).parent.mkdir(exist_ok=True)
        write(suite, name, GOOD.format(name="good"))
    assert collected(suite, "deep/there.py") == ["deep/there.py::good[kill]"]
    assert collected(suite, "here.py::good[kill]") == ["here.py::good[kill]"]
    assert collected(suite, "deep") == collected(suite) == []
    write(suite, "both.py", GOOD.format(name="good") + "def test_one(): pass\n")
    assert collected(suite, "both.py") == ["both.py::test_one"]


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["plain", "xdist"])
def test_files_that_do_not_import_are_errors_and_the_others_run(suite, workers):
    """Each says what is wrong with it and where; the run fails, but only after the others were run."""
    write(suite, "scenarios/a.py", GOOD.format(name="good"))
    write(suite, "scenarios/broken.py", "import no_such_module_here\n")
    write(suite, "scenarios/ends.py", "raise SystemExit('nothing here')\n")
    write(suite, "scenarios/spelt.py", GOOD.format(name="x").replace("outputs=", "litter="))
    write(suite, "scenarios/syntax.py", "def f(:\n")
    write(suite, "scenarios/twin.py", GOOD.format(name="good"))
    write(suite, "scenarios/zap.py", GOOD.format(name="x").replace("outputs=", "faults="))
    done = suite.runpytest_subprocess("scenarios", *workers)
    done.assert_outcomes(passed=1, errors=6)
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    text = done.stdout.str()
    assert re.search(
        r"scenarios/broken\.py:1: in <module>\n.*\n.*No module named 'no_such_module_here'", text
    )
    assert re.search(r"ends\.py does not import:\n.*SystemExit: nothing here", text)
    assert re.search(r"spelt\.py:3: litter='o' must be", text)
    assert re.search(r"syntax\.py does not import:\n.*line 1\n(.*\n)+.*SyntaxError", text)
    assert re.search(r"two scenarios are named 'good': .*a\.py:3 and .*twin\.py:3", text)
    assert re.search(r"zap\.py:3: unknown fault 'o'; there are: kill", text)


def test_errors_of_other_files_stop_the_run_as_ever(suite):
    """What pytest does about a test file that does not import is not ours to change."""
    write(suite, "scenarios/a.py", GOOD.format(name="good"))
    write(suite, "test_broken.py", "import no_such_module_here\n")
    done = suite.runpytest_inprocess()
    assert done.ret == pytest.ExitCode.INTERRUPTED
    done.assert_outcomes(errors=1)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("faults=kil", "unknown fault 'kil'; there are: kill"),
        ("faults=,", "',' names no fault; there are: kill"),
        ("depth=0", "'0' must be a whole number from 1 on"),
        ("points=x", "'x' must be a whole number from 1 on"),
        ("budget=-1", "'-1' must be a number of seconds, 0 or more"),
        ("budget=nan", "'nan' must be a number of seconds, 0 or more"),
        ("budget=2h", "'2h' must be a number of seconds, 0 or more, as 60 or 60s or 2m"),
        ("seed=x", "invalid int value: 'x'"),
    ],
)
def test_wrong_options_are_usage_errors(suite, option, message):
    """They are told before anything runs, with pytest's own status."""
    done = suite.runpytest_inprocess(f"--outlive-{option}")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert f"argument --outlive-{option.partition('=')[0]}: {message}" in done.stderr.str()


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("1.5", 1.5), ("60s", 60), ("2m", 120)])
def test_a_budget_is_spelt_as_on_our_command_line(suite, text, seconds):
    """What outlive test --budget takes is taken here."""
    assert suite.parseconfig(f"--outlive-budget={text}").getoption("outlive_budget") == seconds


def test_a_file_of_ours_that_cannot_be_read_is_told_in_a_line(suite):
    """A baseline that is missing, and regressions that are damaged, need no traceback of ours."""
    write(suite, "scenarios/a.py", GOOD.format(name="good"))
    done = suite.runpytest_subprocess("--outlive-baseline=gone.json")
    done.assert_outcomes(failed=1)
    assert "Traceback" not in done.stdout.str()
    assert "baseline.py" not in done.stdout.str()
    assert "gone.json" in done.stdout.str()
    (suite.path / "scenarios/regressions").mkdir()
    write(suite, "scenarios/regressions/good.json", "{")
    done = suite.runpytest_subprocess()
    done.assert_outcomes(failed=1)
    assert "corpus.py" not in done.stdout.str()
    assert "cannot be read" in done.stdout.str()


def test_what_a_scenario_file_is(suite):
    """The ini value says where they are; helpers, tests and files elsewhere are pytest's own business."""
    suite.makeini("[pytest]\noutlive_scenarios = chaos more/of\npython_files = *.py")
    for name in ("chaos/deep/a.py", "more/of/b.py", "more/c.py", "scenarios/d.py"):
        (suite.path / name).parent.mkdir(parents=True, exist_ok=True)
        write(suite, name, GOOD.format(name=Path(name).stem))
    write(suite, "chaos/_helper.py", "def test_helper(): pass\n")
    write(suite, "chaos/test_it.py", "def test_it(): pass\n")
    assert collected(suite) == [
        "chaos/_helper.py::test_helper",
        "chaos/deep/a.py::a[kill]",
        "chaos/test_it.py::test_it",
        "more/of/b.py::b[kill]",
    ]
    assert collected(suite, "more/of/b.py") == ["more/of/b.py::b[kill]"]


def test_each_fault_is_an_item_of_its_own(suite):
    """Those asked for, as far as they make sense for the scenario; where none does, the item is skipped."""
    write(suite, "scenarios/a.py", GOOD.format(name="any"))
    write(suite, "scenarios/b.py", GOOD.format(name="some").replace("outputs", "faults=['term'], outputs"))
    assert collected(suite) == ["scenarios/a.py::any[kill]", "scenarios/b.py::some[term]"]
    assert collected(suite, "--outlive-faults=torn,term") == [
        "scenarios/a.py::any[torn]", "scenarios/a.py::any[term]", "scenarios/b.py::some[term]",
    ]  # fmt: skip
    done = suite.runpytest_inprocess("scenarios/b.py", "--outlive-faults=kill,torn", "-rs")
    done.assert_outcomes(skipped=1)
    assert "none of its faults (term) was asked for (kill, torn)" in done.stdout.str()


def test_an_item_whose_writes_no_kill_can_cut_is_skipped(suite):
    """Writes within a page arrive whole or not at all, so nothing is tested unless bytes are asked for."""
    write(suite, "scenarios/a.py", GOOD.format(name="any"))
    done = suite.runpytest_inprocess("--outlive-faults=kill,torn", "-rs")
    done.assert_outcomes(passed=1, skipped=1)
    assert "no write of this run goes past the end of a page" in done.stdout.str()
    done = suite.runpytest_inprocess("--outlive-faults=torn", "--outlive-torn=bytes")
    done.assert_outcomes(passed=1)


def test_what_failed_last_is_run_again_alone(suite):
    """Items have ids that pytest reads back as it wrote them: --lf and --sw find what failed."""
    bad = GOOD.format(name="bad").replace("> t && mv t o", "> o")
    write(suite, "scenarios/s.py", GOOD.format(name="good") + bad)
    suite.runpytest_subprocess("--sw").assert_outcomes(passed=1, failed=1)
    assert collected(suite, "--lf") == collected(suite, "--sw") == ["scenarios/s.py::bad[kill]"]


def test_samples_come_from_the_seed_and_what_a_budget_cuts_off_is_unknown(suite):
    """The summary prints the seed that repeats a sample; what was not tested does not pass."""
    write(suite, "scenarios/l.py", LARGE.format(log="/dev/null", nap=0))
    done = suite.runpytest_subprocess("--outlive-points=5", "--outlive-seed=3")
    done.assert_outcomes(passed=1)
    done.stdout.re_match_lines([r"scenario +fault +verdict +points +states +note"])
    done.stdout.re_match_lines([r"large +kill +held +5/25 .*sampled 5 of 25 points", r".*--outlive-seed=3"])
    done = suite.runpytest_subprocess("--outlive-budget=0")
    done.assert_outcomes(failed=1)
    assert "unknown: 0 of 25 points tested when the budget ended" in done.stdout.str()


def test_a_fault_of_ours_shows_its_traceback(suite, monkeypatch):
    """It is no verdict about the pipeline, and says so."""
    (suite.path / "hook").mkdir()
    write(
        suite,
        "hook/sitecustomize.py",
        "import sys\n"
        "if 'outlive_harness.trial.worker' in sys.orig_argv:\n"
        "    from outlive_harness.trial import trial\n"
        "    trial.tree_digest = None\n",
    )
    monkeypatch.setenv("PYTHONPATH", str(suite.path / "hook"))
    write(suite, "scenarios/a.py", GOOD.format(name="good"))
    done = suite.runpytest_subprocess()
    done.assert_outcomes(failed=1)
    done.stdout.re_match_lines([r"a fault of ours, not of the pipeline", r"Traceback", r"TypeError: "])


def test_the_points_of_one_large_scenario_are_spread_over_the_workers(suite, tmp_path):
    """With one item and two xdist workers, both harness workers carry out trials; their directory goes."""
    log = tmp_path / "log"
    write(suite, "scenarios/l.py", LARGE.format(log=log, nap=0.05))
    suite.runpytest_subprocess("-n2").assert_outcomes(passed=1)
    boxes = [Path(line) for line in log.read_text().splitlines()]
    assert {box.parent.name for box in boxes} == {"w000", "w001"}
    (root,) = {box.parents[1] for box in boxes}
    assert not root.exists()


def test_a_worker_that_dies_loses_nothing_of_the_others(suite, tmp_path):
    """Its own item is reported as crashed; every other result arrives, and nothing is left behind."""
    log = tmp_path / "log"
    write(suite, "scenarios/l.py", LARGE.format(log=log, nap=0.2))
    for name in "abc":
        write(suite, f"scenarios/{name}.py", GOOD.format(name=name))
    # The pytest process dies in the middle of the large scenario's trials.
    suite.makeconftest(f"""
        import os, threading, time
        def die():
            log = {str(log)!r}
            while not os.path.exists(log) or len(open(log).readlines()) < 8: time.sleep(0.01)
            os.kill(os.getpid(), 9)
        def pytest_runtest_setup(item):
            if item.name == "large[kill]": threading.Thread(target=die, daemon=True).start()
    """)
    done = suite.runpytest_subprocess("-n2")
    done.assert_outcomes(passed=3, failed=1)
    assert "crashed while running 'scenarios/l.py::large[kill]'" in done.stdout.str()
    done.stdout.re_match_lines(
        [r"a +kill +held", r"b +kill +held", r"c +kill +held", r"3 held: 9 crash points"]
    )
    boxes = log.read_text().splitlines()
    assert len(boxes) < 40  # nobody goes on with what nobody waits for
    assert not any(Path(box).parents[1].exists() for box in boxes)


@pytest.mark.parametrize("to", ["plain", "group", "controller"])
def test_an_interrupt_leaves_nothing_behind(suite, tmp_path, to):
    """Ctrl-C ends pytest, its xdist workers, the harness's workers, the pipelines and their directory."""
    log = tmp_path / "log"
    write(suite, "scenarios/l.py", LARGE.format(log=log, nap=0.2))
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *(["-n2"] if to != "plain" else [])],
        cwd=suite.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    # The golden run is recorded in three runs; from then on there are trials.
    while not log.exists() or len(log.read_text().splitlines()) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(family) > 3
    (os.kill if to == "controller" else os.killpg)(process.pid, signal.SIGINT)
    assert process.wait(60) == pytest.ExitCode.INTERRUPTED
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
    assert not any(Path(line).parents[1].exists() for line in log.read_text().splitlines())


FIXTURE = """
    import os
    import pytest
    from outlive_harness import scenario
    from outlive_harness.plan import Point

    bad = scenario(command=["sh", "-c", "echo x > o"], name="bad", outputs="o")
    good = scenario(command=["sh", "-c", "echo x > t && mv t o"], name="good", outputs="o")
    gone = scenario(command=["false"], name="gone", outputs="o")

    @scenario(outputs="o")
    def body():
        open("o", "w").close()

    def test_run_and_check(outlive):
        result = outlive.run(bad)
        assert result.verdict == "violated" and result.violations[0].kind == "torn-output"
        assert outlive.run(bad, points=1, seed=3).faults["kill"].tested == 1
        assert outlive.run(body).verdict == "held"
        held = outlive.check(["sh", "-c", "echo x > t && mv t o"], outputs="o", faults=["kill", "torn"])
        assert list(outlive.assert_held(held).faults) == ["kill", "torn"]
        assert outlive.assert_held(good, depth=2).verdict == "held"
        with pytest.raises(AssertionError, match="violated: torn-output of o at kill@2"):
            outlive.assert_held(result)
        with pytest.raises(AssertionError, match="unknown: the pipeline fails with no fault"):
            outlive.assert_held(gone)

    def test_trial(outlive):
        assert outlive.ops(good) == 3
        assert [found.kind for found in outlive.trial(bad, "kill@2").findings] == ["torn-output"]
        assert outlive.assert_held(outlive.trial(bad, [Point("kill", 1)])).reached
        assert outlive.trial(good, "kill@2+kill@3").reached
        for plan in ("torn@2.1+kill@1", "torn@2.1+kill@1+kill@1", "torn@2.1+power@2"):
            (found,) = outlive.trial(bad, plan).findings
            assert found.message == "after torn@2.1 o is visible half-written: 1 of 2 bytes"
        missed = outlive.trial(bad, "kill@9")
        assert not missed.reached and not missed.findings
        with pytest.raises(AssertionError, match="unknown: .*kill@9 was not reached"):
            outlive.assert_held(missed)
        with pytest.raises(RuntimeError, match="gone: the pipeline fails with no fault"):
            outlive.trial(gone, "kill@1")

    def put(text):
        with open("t", "w") as file:
            file.write(text)
        os.rename("t", "o")

    def inside(name="local"):
        @scenario(outputs="o", name=name)
        def local():
            put("x")
        return local

    made, twin, twins = inside("made"), inside("twin"), inside("twin")

    @scenario(outputs="o", params={"n": [1, 2]})
    def several(n):
        put("x" * n)

    @pytest.mark.parametrize("one", [made, *several.cases()], ids=lambda one: one.name)
    def test_what_a_name_at_the_top_stands_for_is_found(outlive, one):
        assert outlive.assert_held(one, faults="kill,torn").name == one.name

    @pytest.mark.parametrize(("call", "message"), [
        (lambda outlive: outlive.run(3), "scenario=3 must be a scenario"),
        (lambda outlive: outlive.run(inside()), "scenario=<.*> is declared inside a function"),
        (lambda outlive: outlive.run(twin), "scenario=<.*> is not the only one of its name"),
        (lambda outlive: outlive.run(several), "scenario=<.*> has params: run each of its cases"),
        (lambda outlive: outlive.run(good, faults="kil"), "faults='kil' is not a fault; there are: kill"),
        (lambda outlive: outlive.run(good, faults=[]), r"faults=\\[\\] must name at least one"),
        (lambda outlive: outlive.run(good, depth=0), "depth=0 must be a whole number"),
        (lambda outlive: outlive.run(good, points=0), "points=0 must be a whole number"),
        (lambda outlive: outlive.run(good, seed="x"), "seed='x' must be a whole number"),
        (lambda outlive: outlive.run(good, budget=-1), "budget=-1 must be a number of seconds"),
        (lambda outlive: outlive.check("ls"), "command='ls' must be a list"),
        (lambda outlive: outlive.check(["ls"], litter="x"), "litter='x' must be"),
        (lambda outlive: outlive.trial(good, ()), r"plan=\\(\\) must be one or more"),
        (lambda outlive: outlive.trial(good, "kill"), "'kill' is not a plan"),
        (lambda outlive: outlive.trial(good, "term@1.999"), "plan='term@1.999': 999 is not a signal"),
        (lambda outlive: outlive.trial(good, "kil@1"), "plan='kil' is not a fault"),
    ])
    def test_wrong_arguments(outlive, call, message):
        with pytest.raises(ValueError, match="^" + message):
            call(outlive)
"""


def test_the_fixture_runs_scenarios_commands_and_plans(suite):
    """run() explores, check() takes any command, trial() carries out one plan; wrong arguments are told."""
    (suite.path / "scenarios").rmdir()
    suite.makepyfile(FIXTURE)
    suite.runpytest_subprocess("-n2").assert_outcomes(passed=21)


def test_a_budget_is_shared_fairly_and_never_exceeded(tmp_path):
    """What an item leaves over goes to the next; two processes have twice the time, each no more than all."""
    one, other = (Budget(tmp_path, 60.0, items=3, processes=2) for _ in range(2))
    with one.share() as first, other.share() as second:
        assert first == pytest.approx(40)
        assert second == pytest.approx(40)
    with one.share() as third:  # the others took no time at all
        assert third == pytest.approx(60, abs=1)
    alone = Budget(tmp_path / "alone", 60.0, items=2, processes=1)
    (tmp_path / "alone").mkdir()
    with alone.share() as first:
        assert first == pytest.approx(30)
        with alone.share() as second:
            assert second == pytest.approx(30)
            with alone.share() as none:
                assert none == 0


def test_who_is_at_work_is_seen_until_its_death(tmp_path):
    """A process that was killed and not reaped is at work no more, and neither is a child of one."""
    me = Crowd(tmp_path, "me")
    me.enter()
    assert not me.others()
    code = (
        "import os, sys, time; from pathlib import Path\n"
        "from outlive_harness.pytest_support.crowd import Crowd\n"
        "Crowd(Path(sys.argv[1]), 'other').enter(); child = os.fork()\n"
        "if child: print(child, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True) as other:
        child = int(other.stdout.readline())
        try:
            assert me.others()
            other.kill()
            os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
            assert not me.others()
        finally:
            os.kill(child, signal.SIGKILL)
