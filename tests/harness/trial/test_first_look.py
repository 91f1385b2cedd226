"""A golden run whose first run takes long: its crash states are judged while the further runs are made."""

import time
from dataclasses import replace

import pytest

from outlive_harness.faults import Settings
from outlive_harness.results.run_spec import run_spec_of
from outlive_harness.results.scenario_files import load_file
from outlive_harness.trial import golden_task
from outlive_harness.trial.bench import Bench
from outlive_harness.trial.first_look import FirstLook, LookAtFirstRun
from outlive_harness.trial.golden_task import FinishGoldenRun, FirstRun, GoldenRunTask
from outlive_harness.trial.power_cuts import FindPowerCuts

PROGRAM = """
import os
for name in ("a", "b"):
    with open(f"{name}.part", "w") as f:
        f.write("x" * 5000)
    os.rename(f"{name}.part", name)
with open("report", "w") as f:
    f.write("x" * BYTES)
"""
SCENARIO = """
import sys
from outlive_harness import scenario
it = scenario(command=[sys.executable, "-c", PROGRAM], outputs=["a", "b", "report"], name="it")
"""


@pytest.fixture
def spec(tmp_path):
    """Return the pipeline of a program that writes a report of some bytes in place."""

    def write(size):
        path = tmp_path / "it.py"
        program = repr(PROGRAM.replace("BYTES", str(size)))
        path.write_text(SCENARIO.replace("PROGRAM", program))
        return run_spec_of(load_file(path)[0])

    return write


@pytest.fixture
def benches(tmp_path):
    """Two workers' benches."""
    several = [Bench(tmp_path / "w000"), Bench(tmp_path / "w001")]
    yield several
    for bench in several:
        bench.clear()


def begun(monkeypatch, bench, task):
    """Make the first run alone."""
    monkeypatch.setattr(golden_task, "LONG", 0.0)
    first = task.run(bench)
    monkeypatch.undo()
    assert isinstance(first, FirstRun)
    return first


def looked(bench, first, fault, **wish):
    """Judge the states of a fault in the first run."""
    return LookAtFirstRun(first, fault, Settings(), "posix", 60.0, **wish).run(bench)


def test_what_is_partial_is_seen_after_one_run(monkeypatch, tmp_path, spec, benches):
    """Every kill and torn write of the run is judged, by the other worker; the report alone is partial."""
    first = begun(monkeypatch, benches[0], GoldenRunTask(spec(5000), tmp_path / "record"))
    kill, torn = (looked(benches[1], first, fault) for fault in ("kill", "torn"))
    ops = len(first.load().record.ops)
    assert (kill.judged, kill.points, kill.wrong) == (ops, ops, 1)
    assert torn.judged == torn.points == torn.wrong + 2 == 3
    assert {one.path for look in (kill, torn) for trial in look.examples for one in trial.findings} == {
        "report"
    }


def test_what_the_further_runs_decide_is_not_reported(monkeypatch, tmp_path, spec, benches):
    """A database that nobody asked to read is left to the trials."""
    first = begun(monkeypatch, benches[0], GoldenRunTask(spec(5000), tmp_path / "record"))
    known = first.load()
    assert looked(benches[1], first, "kill").examples
    known.record.spec = replace(known.record.spec, read=(("report", "sqlite"),))
    monkeypatch.setattr(FirstRun, "load", lambda _self: known)
    assert not looked(benches[1], first, "kill").examples


def test_power_cuts_are_looked_at_too(monkeypatch, tmp_path, spec, benches):
    """Without fsync, a renamed file may be empty after a power cut: that is seen in the recording."""
    first = begun(monkeypatch, benches[0], GoldenRunTask(spec(10), tmp_path / "record"))
    look = looked(benches[1], first, "power")
    assert look.judged == look.points > 10
    assert {"a", "b"} <= {one.path for trial in look.examples for one in trial.findings}


def test_two_workers_make_the_golden_run_that_one_makes(monkeypatch, tmp_path, spec, benches):
    """The further runs may be another worker's: the record says the same."""
    it = spec(5000)
    first = begun(monkeypatch, benches[0], GoldenRunTask(it, tmp_path / "two"))
    two = FinishGoldenRun(GoldenRunTask(it, first.place), first).run(benches[1])
    one = GoldenRunTask(it, tmp_path / "one").run(benches[0])
    assert (one.reason, two.reason) == ("", "")
    assert [op.describe() for op in one.ops] == [op.describe() for op in two.ops]
    for name in ("final", "versions", "varying", "has_order", "findings", "warnings", "preload", "acks"):
        assert getattr(one, name) == getattr(two, name), name
    assert one.versions.keys() >= {"a", "b", "report"}


def test_a_run_whose_ops_do_not_account_for_its_files_is_left_to_the_trials(
    monkeypatch, tmp_path, spec, benches
):
    """What another process may have written is judged by nothing but trials."""
    first = begun(monkeypatch, benches[0], GoldenRunTask(spec(5000), tmp_path / "record"))
    known = first.load()
    known.ops.pop()
    known.ops.pop()
    monkeypatch.setattr(FirstRun, "load", lambda _self: known)
    assert looked(benches[1], first, "kill") == FirstLook()


def test_a_golden_run_ends_with_the_budget(tmp_path, spec, benches):
    """A run that would take longer is given up, and the record says so; the next run has no limit."""
    it = replace(spec(10), argv=("sleep", "60"))
    record = GoldenRunTask(it, tmp_path / "record", until=time.time() + 0.3).run(benches[0])
    assert record.reason.startswith("the budget ended while the pipeline ran")
    assert benches[0].runner.deadline is None


def test_the_search_for_power_cuts_ends_with_the_budget(tmp_path, spec, benches):
    """What there is no time for is not planned, and the result says that there may be more."""
    record = GoldenRunTask(spec(10), tmp_path / "record").run(benches[0])
    find = FindPowerCuts(record.place, (), "power", "posix", 0)
    every = find.run(benches[0])
    assert every.points
    assert replace(find, until=time.time() + 60).run(benches[0]).there == every.there
    late = replace(find, until=time.time() - 1).run(benches[0])
    assert (late.points, late.has_more) == ([], True)
