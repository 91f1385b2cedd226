"""The order of trials: a part of them says as much as it can, and any number of workers finds the same."""

import os
from random import Random

import pytest

from outlive_harness.golden.record import Record
from outlive_harness.jobs.session import Session
from outlive_harness.results.findings import Finding
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import Point, parse_plan
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.results.trials import Outcome, Trial
from outlive_harness.results.verdicts import Verdict
from outlive_harness.search.carry_out import _enough
from outlive_harness.search.order import Told, by_turns, in_order


def record_of(tmp_path, *ops):
    made = Record(RunSpec("it", ("x",), "/", outputs=("out*",)), tmp_path)
    made.trace.ops = list(ops)
    return made


def made(path):
    """The ops of a file that is written in place."""
    return [Op("open", "openat", path, flags=os.O_WRONLY | os.O_CREAT), Op("write", "write", path)]


def kills(*numbers):
    return [(Point("kill", number),) for number in numbers]


def numbers_of(plans):
    return [plan[-1].at for plan in plans]


def test_ops_on_outputs_come_before_state_and_these_before_home_and_tmp(tmp_path):
    """A crash is between two ops: it counts as one on an output if either of them is."""
    several = [".tmp/a", ".home/b", "log", "out", "db"]
    record = record_of(tmp_path, *(op for path in several for op in made(path)))
    found = numbers_of(in_order(record, kills(*range(1, 11)), Told()))
    assert set(found[:3]) == {7, 8, 9}
    assert set(found[3:6]) == {5, 6, 10}
    assert set(found[6:]) == {1, 2, 3, 4}


def test_a_power_cut_counts_as_one_of_what_it_loses(tmp_path):
    """Data of an output that was lost matters, however much later the power is cut."""
    record = record_of(tmp_path, *made("out"), *made("log"), *made("db"))
    plans = [parse_plan(text) for text in ("power@5", "power@6-2", "power@6")]
    assert in_order(record, plans, Told())[0] == plans[1]


def test_one_point_of_each_kind_comes_before_the_second_of_any(tmp_path):
    """What is done a hundred times over does not crowd out what is done once."""
    ops = [op for number in range(50) for op in made(f"out{number}")]
    record = record_of(tmp_path, *ops, Op("rename", "rename", "t", "out"))
    found = numbers_of(in_order(record, kills(*range(1, 102)), Told()))
    assert 101 in found[:12]


def test_a_state_comes_before_points_that_leave_it_again(tmp_path):
    """That which most points share comes first of like ones; what is known to be wrong before all."""
    record = record_of(tmp_path, *(op for number in range(4) for op in made(f"out{number}")))
    plans = kills(*range(1, 9))
    states = dict(zip(plans, "abbbcdef", strict=True))
    found = in_order(record, plans, Told(states=states))
    again = [plan for plan in plans[1:4] if plan != min(plans[1:4], key=found.index)]
    assert set(found[-2:]) == set(again)
    first = in_order(record, plans, Told(frozenset(kills(5)), states))
    assert numbers_of(first)[0] == 5
    shared = in_order(record, plans, Told(shares={plans[6]: 9}))
    assert shared.index(plans[6]) < found.index(plans[6]) or found.index(plans[6]) == 0


def test_the_order_is_that_of_the_seed(tmp_path):
    """With a budget each seed begins with other points of the same importance."""
    record = record_of(tmp_path, *(op for number in range(40) for op in made(f"out{number}")))
    plans = kills(*range(1, 81))

    def drawn(seed):
        return numbers_of(in_order(record, plans, Told(), Random(seed)))

    assert drawn(1) == drawn(1)
    assert sorted(drawn(1)) == sorted(drawn(2)) == list(range(1, 81))
    assert drawn(1)[:8] != drawn(2)[:8]


def test_faults_take_turns():
    """One with few points is through soon, and one with thousands does not come first."""
    assert by_turns(["abc", "", "1", "xyzw"]) == ["a", "1", "x", "b", "y", "c", "z", "w"]
    assert by_turns([]) == []


class Search:
    """A search for which one violation is enough."""

    def __init__(self):
        self.search, self.trials = self, []

    def has_enough(self, trials):
        return any(trial.findings for trial in trials)


def test_what_is_found_behind_the_first_violation_does_not_count():
    """A worker that ran ahead changes nothing: not even if it judged the state that an earlier point has."""
    one = Search()
    wrong = [Finding("diverged", "out", "it is wrong")]
    plans = kills(1, 2, 3, 4)
    trials = [
        Trial(plans[0], Outcome.JUDGED, state="a"),
        Trial(plans[1], Outcome.REPEATED, state="b", op="its own"),
        Trial(plans[2], Outcome.JUDGED, state="c", findings=wrong),
        Trial(plans[3], Outcome.JUDGED, state="b", op="another", findings=wrong),
    ]
    taken = [trial for _, trial in _enough([one], [(one, trial) for trial in trials])]
    assert [(trial.plan, trial.op, trial.judged, trial.findings) for trial in taken] == [
        (plans[0], "", True, []),
        (plans[1], "its own", True, wrong),
    ]
    clean = [(one, trial) for trial in trials[:2]]
    assert _enough([one], clean) == clean


LATE = """
@scenario(outputs="o*", faults=("kill", "eio"))
def late():
    for n in range(6):
        put(f"o{n}", "x")
    if Path("mark").exists():
        put("o0", "y")
    Path("mark").write_text("x")
    os.unlink("mark")
"""


@pytest.mark.parametrize("options", [{"fail_fast": True}, {}])
def test_any_number_of_workers_finds_the_same(explored, options):
    """Also where the first violation ends it, though no recording shows that one."""
    seen = []
    for jobs in (1, 3):
        with Session(jobs=jobs) as session:
            (result,) = explored(LATE, within=session, explain="none", **options).scenarios
        assert result.verdict is Verdict.VIOLATED
        seen.append((result.faults, [(one.kind, one.point, one.points) for one in result.violations]))
    assert seen[0] == seen[1]
