"""A sample of crash points has one for each output, and says which it has none for."""

import random
from pathlib import Path

import pytest

from outlive_harness.disk.tree import Entry
from outlive_harness.golden.record import Record
from outlive_harness.golden.similar import groups
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import Point
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.results.verdicts import Verdict
from outlive_harness.search.outputs_first import sampled

#: A long run of which one output of five is written in place, in two ops of a hundred.
LONG = """
@scenario(outputs="out/*", faults={faults})
def long():
    Path("out").mkdir(exist_ok=True)
    for i in range(5):
        if not Path(f"out/{{i}}").exists():
            for note in range(9):
                Path("note").write_text("x")
            if i == 3:
                Path("out/3").write_text("x" * 9000)
            else:
                put("t", "x" * 9)
                os.replace("t", f"out/{{i}}")
"""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("faults", ["kill", "torn"])
def test_an_output_that_is_torn_is_found_by_any_sample_that_is_large_enough(one, seed, faults):
    """Five points of a hundred, one an output: what is written in place is struck while in part there."""
    result = one(LONG.format(faults=repr(faults)), points=5, seed=seed, explain="none")
    assert result.verdict is Verdict.VIOLATED
    assert {violation.path for violation in result.violations} == {"out/3"}
    coverage = result.faults[faults]
    assert 0 < coverage.tested <= 5  # a kill tears no write that ends in its page: two points then


def test_a_sample_that_leaves_an_output_out_is_unknown(one):
    """It says which, and how many points are enough; with so many what is right holds."""
    source = LONG.format(faults="'kill'").replace("i == 3", "False")
    result = one(source, points=2)
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason.startswith("kill: none of the 2 points of the sample is on an op of out/")
    assert result.reason.endswith("; 5 points have one for each output")
    result = one(source, points=5)
    assert result.verdict is Verdict.HELD
    assert "sampled 5 of" in result.reason


def test_where_likes_stand_for_each_other_one_output_of_a_kind_is_enough(one):
    """With --select distinct a point stands for those that are like it, on whatever output they are."""
    source = LONG.format(faults="'kill'").replace("i == 3", "False").replace("range(5)", "range(12)")
    assert one(source, points=8, select="distinct").verdict is Verdict.HELD
    assert one(source, points=8).verdict is Verdict.UNKNOWN


def record(*ops, final=(), outputs=("out/*",)):
    """Return the record of a run that made some ops and left some files."""
    made = Record(RunSpec("it", ("x",), "/", outputs), Path("/nowhere"))
    made.trace.ops += [Op(kind, kind, *names) for kind, *names in ops]
    made.final = dict.fromkeys(final, Entry("file", 0o644, 1, "d"))
    return made


def kills(made):
    return [(Point("kill", number),) for number in range(1, len(made.ops) + 1)]


def struck(made, plans, count, seed=0, **how):
    sample = sampled(made, plans, count, random.Random(seed), **how)
    return {plan[-1].at for plan in sample.plans}, sample


@pytest.mark.parametrize("seed", range(8))
def test_what_is_in_part_there_comes_first(seed):
    """Of an output's ops one that changes its content is struck, after another that did; no sync is one."""
    made = record(
        ("mkdir", "out"), ("write", "out/a"), ("write", "t"), ("fsync", "out/a"), ("chmod", "out/a"),
        ("write", "out/a"), ("rename", "t", "out/b"), ("mkdir", "log"),
        final=("out/a", "out/b"),
    )  # fmt: skip
    assert struck(made, kills(made), 2, seed)[0] == {6, 7}
    assert struck(made, kills(made), 1, seed)[1].left_out in {("out/a",), ("out/b",)}
    assert len(struck(made, kills(made), 5, seed)[0]) == 5


def test_a_directory_that_is_renamed_stands_for_all_in_it():
    """One op makes them all visible, and one point is enough for them."""
    final = tuple(f"out/{name}" for name in "abc")
    made = record(("mkdir", "log"), ("mkdir", "new"), ("rename", "new", "out"), final=final)
    at, sample = struck(made, kills(made), 1)
    assert (at, sample.left_out, sample.enough, sample.gap) == ({3}, (), 1, "")


def test_a_power_cut_is_on_what_it_loses():
    """One that loses an op of an output, or comes after it, is a point for that output."""
    made = record(("write", "out/a"), ("rename", "t", "out/b"), ("mkdir", "log"), final=("out/a", "out/b"))
    plans = [(Point("power", 3, lost=lost),) for lost in ((), ("1",), ("2.1",))] + [(Point("power", 2),)]
    assert {plan[0].lost for plan in struck(made, plans, 2)[1].plans} == {("1",), ("2.1",)}


def test_an_output_that_a_fault_has_no_point_for_is_not_missed():
    """Torn writes strike writes: one that is renamed into place has none, however many are struck."""
    made = record(("write", "out/a"), ("rename", "t", "out/b"), ("write", "log"), final=("out/a", "out/b"))
    plans = [(Point("torn", 1, 5),), (Point("torn", 3, 5),)]
    assert struck(made, plans, 1) == ({1}, struck(made, plans, 1)[1])
    assert struck(made, plans, 1)[1].left_out == ()


def test_names_of_a_runs_own_are_one_output_in_all_runs():
    """What differs from run to run in a name is folded, and with select so are numbers."""
    final = tuple(f"out/part{number}" for number in range(40))
    made = record(*(("rename", "t", path) for path in final), final=final)
    assert len(struck(made, kills(made), 8)[1].left_out) == 32
    alike = groups(made.ops, made.fold)
    assert struck(made, kills(made), 8, alike=alike)[1].left_out == ()


def test_a_check_that_stands_in_for_outputs_leaves_the_sample_as_it_was():
    """Where no file is judged there is none to come first: the sample is that of the seed."""
    made = record(("write", "out/a"), ("write", "b"), final=("out/a", "b"), outputs=())
    made.spec = RunSpec("it", ("x",), "/", judge_outputs=False)
    samples = {frozenset(struck(made, kills(made), 1, seed)[0]) for seed in range(9)}
    assert samples == {frozenset({1}), frozenset({2})}
