"""survives(): an input and a crash that are drawn together, judged, shrunk, kept and replayed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from outlive_harness import scenario
from outlive_harness.drawn.failure import Failures
from outlive_harness.drawn.survivor import Survivor
from outlive_harness.golden.record import Record
from outlive_harness.history.store import Store
from outlive_harness.results.findings import Violation
from outlive_harness.results.run_spec import run_spec_of
from outlive_harness.results.scenario import ScenarioError
from outlive_harness.strategies import NotSurvived, UntestableError, crashes, outlive_settings

#: Counts the rows of each key; writes in place only if a key has several.
COUNT = """
set -e; [ -s in.csv ] || exit 0
if [ -n "$(uniq -d < in.csv)" ]; then uniq -c < in.csv > out; else uniq -c < in.csv > t; mv t out; fi
"""
ROWS = st.lists(st.tuples(st.integers(0, 3)), max_size=6)
few = outlive_settings(max_examples=15, derandomize=True, database=None)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One worker for the tests of this file; failures are kept in a directory of their own."""
    survivor = Survivor(tmp_path_factory.mktemp("project") / ".outlive")
    yield survivor
    survivor.close()


@pytest.fixture
def survives(shared):
    """Judge a shell script that reads in.csv and writes out, with that worker."""

    def run(script, crash, rows="1\n", **keywords):
        files = {"in.csv": rows} | keywords.pop("files", {})
        given = {"outputs": keywords.pop("outputs", "out"), "keywords": {"name": "count"} | keywords}
        return shared.survives(["sh", "-c", script], crash, files=files, **given)

    return run


def failures(survivor):
    return sorted(path.name for path in (survivor._failures.store.root / "failures").glob("*"))


def test_a_users_own_test_finds_the_input_and_the_crash(pytester, monkeypatch):
    """The whole way in five lines: found, shrunk, printed, kept, and replayed by id in a new process."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makefile(".sh", pipeline=COUNT)
    pytester.makefile(".csv", **{"in": "a file of the user's, which no run reads\n"})
    pytester.makepyfile("""
        from hypothesis import given, strategies as st
        from outlive_harness.strategies import crashes, outlive_settings

        @given(rows=st.lists(st.tuples(st.booleans()), max_size=4), crash=crashes())
        @outlive_settings(derandomize=True, database=None, max_examples=60)
        def test_survives(outlive, rows, crash):
            outlive.survives(["sh", "pipeline.sh", "in.csv"], crash, files={"in.csv": rows}, outputs="out")
    """)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=300)
    done.assert_outcomes(failed=1)
    text = done.stdout.str()
    assert "rows=[(False,), (False,)]" in text
    assert "Draw 1 (crash): kill@2, before: write out" in text
    assert "violated: torn-output of out at kill@2" in text
    (identifier,) = set(re.findall(r"outlive replay (\S+)", text))
    assert re.fullmatch("pipeline/[0-9a-f]{8}:kill@2", identifier)
    (place,) = (pytester.path / ".outlive" / "failures").iterdir()  # what it shrank from is gone
    assert (place / "input" / "in.csv").read_text() == "False\nFalse\n"
    again = pytester.run(sys.executable, "-m", "outlive_harness", "replay", identifier)
    assert again.ret == 1
    assert "torn-output: out is visible half-written" in again.stdout.str()


def test_a_pipeline_that_survives_passes(survives):
    """Any input and any crashes, of several faults and in recoveries; some inputs yield nothing."""
    carried_out = []

    @given(rows=ROWS, crash=crashes(("kill", "full", "power"), depth=2))
    @few
    def test(rows, crash):
        script = "[ -s in.csv ] || exit 0; uniq -c in.csv > t && sync t && mv t out"
        carried_out.append(survives(script, crash, rows))

    test()
    assert {point.fault for trial in carried_out for point in trial.plan} == {"kill", "full", "power"}
    assert max(len(trial.plan) for trial in carried_out) == 2


def test_an_input_that_yields_no_output_is_dropped(survives):
    """It is no failure; but a test whose inputs never yield any has tested nothing, and says so."""
    assert survives(COUNT, "kill@1", "") is None

    @given(rows=st.sampled_from(("1\n", "2\n")), crash=crashes())
    @few
    def test(rows, crash):
        survives("true", crash, rows)

    with pytest.raises(Unsatisfiable):
        test()


def test_an_output_that_only_some_inputs_yield_is_judged_if_it_is_there(survives):
    """A pattern that this input does not meet is set aside, and the others are judged."""
    script = "cp in.csv t; mv t out; grep x in.csv > errors || rm -f errors"
    with pytest.raises(NotSurvived, match="torn-output of errors at kill@"):
        survives(script, "kill@7", "x\n", outputs=["out", "errors"])
    assert survives("cp in.csv t; mv t out", "kill@2", "y\n", outputs=["out", "no*"]).judged


def test_a_pipeline_that_refuses_an_input_is_unknown(survives):
    """With no golden run there is nothing to compare with, and the message says so; it is never held."""
    with pytest.raises(UntestableError, match=r"^unknown: count/[0-9a-f]{8}: .* fails with no fault"):
        survives("exit 3", "kill@1")
    with pytest.raises(UntestableError, match="nondeterministic"):
        survives("date +%N > t; mv t out", "kill@1")


def test_outputs_that_differ_anyway_are_no_violation(survives, tmp_path):
    """Before a divergence is reported, the pipeline runs once more with no fault."""
    log = tmp_path / "log"
    script = f"echo >> {log}; [ $(wc -l < {log}) -gt 4 ] && echo later > t || echo first > t; mv t out"
    with pytest.raises(UntestableError, match="a further run with no fault differs in out"):
        survives(script, "kill@2")


def test_a_written_plan_and_what_is_kept(survives, shared):
    """A plan as a text; equal inputs have one id; another input has another, and both are kept."""
    before = set(failures(shared))
    for rows in ("1\n1\n", [[1], [1]], "2\n2\n"):
        with pytest.raises(NotSurvived, match="violated: torn-output of out at kill@2"):
            survives(COUNT, "kill@2", rows)
    assert len(set(failures(shared)) - before) == 2
    with pytest.raises(UntestableError, match="kill@99 was not reached"):
        survives(COUNT, "kill@99")


def test_of_the_failures_that_shrink_only_the_last_is_kept(tmp_path):
    """Unless another process has kept the same one meanwhile, or an earlier run did: their ids were shown."""
    one = doubles
    kept = Failures(Store(tmp_path))

    def keep(failures, point, *, is_shown=False):
        facts = dict.fromkeys(("path", "op", "message", "detail"), "")
        violation = Violation("torn-output", "kill", f"kill@{point}", replay=f"one/x:kill@{point}", **facts)
        return failures.keep(one, Record(run_spec_of(one), tmp_path), violation, is_shown=is_shown)

    earlier = keep(Failures(Store(tmp_path)), 9)
    several = [keep(kept, point) for point in (1, 9, 2, 1, 3)]
    assert [place.exists() for place in several] == [False, True, False, False, True]
    assert keep(Failures(Store(tmp_path)), 3, is_shown=True) == several[-1]
    last = keep(kept, 4, is_shown=True)
    keep(kept, 5)
    assert all(place.exists() for place in (earlier, several[-1], last))


def test_files_are_added_to_those_of_the_input(survives, tmp_path):
    """A directory of constant files, as any scenario has, and the drawn ones in it."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config").write_text("-c\n")
    script = "uniq $(cat config) in.csv > t; mv t out"
    assert survives(script, "kill@2", input=tmp_path / "base", files={"more/x": b""}).judged
    with pytest.raises(UntestableError, match="exited with 1"):
        survives("set -e; cat config > t; mv t out", "kill@1")


def test_a_second_run_that_changes_an_output_fails_without_a_crash(survives):
    """The golden runs alone show it: the input is kept, and no replay id is printed."""
    with pytest.raises(NotSurvived, match="not-idempotent") as told:
        survives("cat in.csv >> out", "kill@1")
    assert "replay:" not in str(told.value)
    assert "/input" in str(told.value)


IN_PYTHON = """
import os, sys
import json
rows = open("in.csv").read().split()
with open("t", "w") as file:
    for row in rows:
        print(json.dumps(row), file=file, flush=True)
os.replace("t", "out")
"""


def test_inputs_share_a_warm_interpreter(shared, tmp_path, monkeypatch):
    """The zygote of one input serves the next: a program is imported once for a whole test."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.py").write_text(IN_PYTHON)

    def zygotes():
        worker = psutil.Process(shared._session._workers[0].pid)
        return {
            child.pid for child in worker.children() if any("_zygote.py" in one for one in child.cmdline())
        }

    def run(rows):
        keywords = {"name": "rows"}
        return shared.survives(
            [sys.executable, "p.py"], "kill@4", files={"in.csv": rows}, outputs="out", keywords=keywords
        )

    assert run("1\n2\n3\n4\n").judged
    first = zygotes()
    assert len(first) == 1
    assert run("1\n2\n3\n4\n5\n").judged
    assert zygotes() == first
    (tmp_path / "p.py").write_text(IN_PYTHON.replace("flush=True", "flush=True)\n        file.flush("))
    assert run("1\n2\n3\n5\n6\n").judged
    assert zygotes() != first


#: Its recovery sees whether json was imported, which it is not by exec.
SEES = """
import os, sys
if os.path.exists("t"):
    text = "{warm}" if "json" in sys.modules else "{cold}"
else:
    import json
    text = "whole"
for name in "abcd":
    open(name, "w").close()
open("t", "w").write(text)
os.replace("t", "out")
"""


@pytest.mark.parametrize(("warm", "cold", "holds"), [("other", "whole", True), ("whole", "other", False)])
def test_what_only_a_warm_interpreter_shows_or_hides_does_not_count(shared, tmp_path, warm, cold, holds):
    """A violation must show by exec, and so must the first recoveries that held."""
    (tmp_path / "p.py").write_text(SEES.format(warm=warm, cold=cold))
    command = [sys.executable, tmp_path / "p.py"]
    given = {"files": {}, "outputs": "out", "keywords": {}}
    for _ in range(2):
        if holds:
            assert shared.survives(command, "kill@7", **given).judged
        else:
            with pytest.raises(NotSurvived, match="diverged of out at kill@7"):
                shared.survives(command, "kill@7", **given)


doubles = scenario(command=["sh", "-c", COUNT], name="doubles", outputs="out")


@pytest.mark.parametrize(
    ("subject", "crash", "keywords", "message"),
    [
        ("p.py", "kill@1", {}, "command='p.py' must be a list"),
        (["sh"], "kill", {}, "crash='kill' is not a plan"),
        (["sh"], 3, {}, "crash=3 must be drawn by"),
        (["sh"], "timer@3", {}, "crash='timer@3': faults must be among"),
        (["sh"], "kill@1", {"faults": "kill"}, "faults='kill' is an argument of crashes"),
        (["sh"], "kill@1", {"check": len}, "check=.* needs a scenario at the top of a file"),
        (["sh"], "kill@1", {"litter": "no"}, "litter='no' must be"),
        (doubles, "kill@1", {"tmp": "same"}, "tmp='same' goes with a command; doubles declares its own"),
    ],
)
def test_wrong_arguments_are_told_by_name_and_value(shared, subject, crash, keywords, message):
    """Messages begin with the argument's name and the value that it had."""
    with pytest.raises(ScenarioError, match=f"^{message}"):
        shared.survives(subject, crash, files={}, outputs=(), keywords=keywords)


def test_a_scenario_that_is_declared_is_taken_as_it_is(shared):
    """And it is not changed: its copy has the drawn input."""
    with pytest.raises(NotSurvived, match=r"replay doubles/[0-9a-f]{8}:kill@2"):
        shared.survives(doubles, "kill@2", files={"in.csv": "1\n1\n"}, outputs=(), keywords={})
    assert doubles.input is None


INTERRUPTED = """
import os, sys
from hypothesis import given, strategies as st
from outlive_harness import strategies
from outlive_harness.strategies import crashes, outlive_settings, survives
seen = []

@given(rows=st.lists(st.tuples(st.integers()), min_size=1), crash=crashes())
@outlive_settings(database=None)
def test(rows, crash):
    survives(["sh", "-c", "cp in.csv t; mv t out"], crash, files={"in.csv": rows}, outputs="out")
    (one,) = strategies._survivors.values()
    seen.append(rows)
    if len(seen) == 3:
        print(one._session.root, one._session._workers[0].pid, flush=True)
        raise KeyboardInterrupt

test()
"""


def test_nothing_is_left_if_a_test_is_interrupted(tmp_path):
    """Without pytest: the worker and its boxes end with the process."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "KeyboardInterrupt" in done.stderr
    root, pid = done.stdout.splitlines()[0].split()
    assert not os.path.lexists(root)
    assert not psutil.pid_exists(int(pid))
    assert not Path(tmp_path / ".outlive").exists()
