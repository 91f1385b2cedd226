"""Selection: of like crash points some stand for the others, and none that is alone is left out."""

import random
import re

import pytest

from outlive_harness.golden.similar import distinct, groups
from outlive_harness.results.ops import Op
from outlive_harness.results.verdicts import Verdict

STEPS = """
@scenario(outputs="out/*", faults=FAULTS)
def steps():
    Path("out").mkdir(exist_ok=True)
    for i in range(16):
        path = Path(f"out/step{i}")
        if path.exists(): continue
        if i == ODD:
            path.write_text("x" * 100)
        else:
            Path("t").write_text("x" * 100)
            os.replace("t", path)
"""


def steps(odd, faults="kill"):
    return STEPS.replace("ODD", str(odd)).replace("FAULTS", repr(faults))


def same(path):
    return path


def test_ops_that_differ_in_numbers_are_alike_and_others_are_not():
    """Kind, path without its numbers, and the ops around it make a group."""
    repeated = [
        op
        for i in range(5)
        for op in (
            Op("open", "openat", f"t{i}"),
            Op("write", "write", f"t{i}"),
            Op("rename", "rename", f"t{i}", f"o{i}"),
        )
    ]
    numbers = groups(repeated, same)
    assert numbers[6:9] == numbers[9:12]
    assert len(set(numbers[6:9])) == 3
    repeated[10] = Op("truncate", "ftruncate", "t3")
    assert groups(repeated, same)[10] not in groups(repeated, same)[:10]


def test_hexadecimal_names_are_numbers_too():
    """A digest or a random name in a path makes no group of its own."""
    ops = [
        Op("write", "write", f"out/{digest}.bin") for digest in ("a3f09bc2d1", "00ffee1177", "deadbeef00") * 4
    ]
    assert len(set(groups(ops, same)[4:-1])) == 1


def test_each_group_has_its_first_and_last_and_some_between():
    """Order is kept, the sample is the seed's, and small groups are whole."""
    items = list(range(100))
    taken = distinct(items, lambda item: item % 2 if item < 98 else item, random.Random(1))
    assert (
        taken
        == sorted(taken)
        == distinct(items, lambda item: item % 2 if item < 98 else item, random.Random(1))
    )
    assert {0, 1, 96, 97, 98, 99} < set(taken)
    assert len(taken) == 2 * 4 + 2


def test_a_bug_that_one_step_of_many_has_is_found(one):
    """What is done differently once is a group of its own, and is struck."""
    result = one(steps(odd=11), select="distinct")
    assert {violation.kind for violation in result.violations} == {"torn-output", "diverged"}
    assert {violation.path for violation in result.violations} == {"out/step11"}
    coverage = result.faults["kill"]
    assert coverage.tested == coverage.chosen < coverage.points / 2
    assert coverage.points == result.ops
    assert f"{coverage.chosen} points stand for {coverage.points}" in coverage.note


@pytest.mark.parametrize(("faults", "count"), [(("torn",), 10), (("power",), 3), (("eio", "full"), 10)])
def test_each_fault_is_selected_from(one, faults, count):
    """The bug is found by whatever strikes, and a selection is not taken for a gap."""
    source = steps(odd=count - 2, faults=faults).replace("range(16)", f"range({count})")
    result = one(source, select="distinct", torn="bytes")
    assert result.verdict is Verdict.VIOLATED
    for coverage in result.faults.values():
        assert 0 < coverage.tested <= coverage.chosen


def test_it_is_told_after_which_ops_the_power_was_cut(one):
    """Points that are not there to be counted are no reason to say nothing of them."""
    source = steps(odd=-1, faults="power").replace("range(16)", "range(6)")
    coverage = one(source, select="distinct", profile="ext4-ordered").faults["power"]
    assert re.search(r"power cut after [0-9]+ of [0-9]+ ops, seed 0$", coverage.note), coverage
    coverage = one(source, select="all", profile="ext4-ordered").faults["power"]
    assert "ops" not in coverage.note


def test_recoveries_are_selected_from_too(one):
    """At depth 2 each kind of second crash after each kind of first one is represented."""
    source = steps(odd=-1).replace("range(16)", "range(6)")
    every, some = (one(source, select=select, depth=2).faults["kill"] for select in ("all", "distinct"))
    assert every.tested == every.points
    assert 0 < some.tested == some.chosen < every.tested


def test_all_is_the_rule_where_points_are_few(one):
    """By default a run of some hundred ops is struck at each."""
    coverage = one(steps(odd=-1)).faults["kill"]
    assert (coverage.tested, coverage.note) == (coverage.points, "")
