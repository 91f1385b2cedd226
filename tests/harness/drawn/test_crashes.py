"""Crashes: drawn when the run is known, and shrunk to the first point and to fewer in a row."""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from outlive_harness.drawn.crashes import Place
from outlive_harness.results.plan import Point
from outlive_harness.results.scenario import ScenarioError
from outlive_harness.strategies import crashes, outlive_settings


def places(count, fault="kill"):
    return [Place(Point(fault, number), f"{fault}@{number}") for number in range(1, count + 1)]


def smallest(strategy, fails):
    """Return what a failing test shrinks to: the drawn size, and the plan, which is judged crash by crash."""
    found = []

    @given(size=st.integers(1, 60), crash=strategy)
    @outlive_settings(derandomize=True, database=None, max_examples=300)
    def test(size, crash):
        plan = []
        while not plan or (len(plan) < crash.depth and crash.goes_on()):
            plan.append(crash.place([places(size, fault) for fault in crash.faults]))
            if fails(size, plan):
                found.append((size, plan))
                raise AssertionError

    with pytest.raises(AssertionError):
        test()
    return found[-1]


def test_a_crash_shrinks_to_the_first_point_that_fails():
    """The input and the crash shrink together: the shortest run that has such a point."""
    assert smallest(crashes(), lambda _size, plan: plan[0].at >= 9) == (9, [Point("kill", 9)])


def test_the_last_points_stay_the_last_while_the_input_shrinks():
    """A run whose last point but one fails is found with the smallest input."""
    found = smallest(crashes(), lambda size, plan: size > 7 and plan[0].at == size - 1)
    assert found == (8, [Point("kill", 7)])


def test_one_crash_is_tried_where_three_were_found():
    """Several crashes shrink to the one that fails, and several faults to the first that does."""
    strategy = crashes(("eio", "kill", "term"), depth=3)

    def fails(_size, plan):
        return any(point.fault != "eio" and point.at > 2 for point in plan)

    assert smallest(strategy, fails) == (3, [Point("kill", 3)])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"faults": "timer"}, "faults='timer' must be among kill, torn"),
        ({"faults": ()}, r"faults=\(\) must name at least one"),
        ({"depth": 0}, "depth=0 must be a whole number from 1 on"),
        ({"depth": "2"}, "depth='2' must be a whole number from 1 on"),
    ],
)
def test_wrong_arguments_are_told_by_name_and_value(wrong, message):
    """Messages begin with the argument's name and the value that it had."""
    with pytest.raises((ValueError, ScenarioError), match=f"^{message}"):
        crashes(**wrong)


def test_the_profile_leaves_out_the_explain_phase_and_the_deadline():
    """As a decorator with or without arguments, and by name; the rest is as in the loaded profile."""

    @outlive_settings
    def plain():
        pass

    for made in (
        outlive_settings(max_examples=7),
        settings.get_profile("outlive"),
        plain._hypothesis_internal_use_settings,
    ):
        assert made.deadline is None
        assert Phase.explain not in made.phases
        assert Phase.shrink in made.phases
        assert not made.report_multiple_bugs
    assert outlive_settings(max_examples=7).max_examples == 7
    before = settings.default
    settings.register_profile("of-this-test", max_examples=11)
    settings.load_profile("of-this-test")
    try:
        assert outlive_settings().max_examples == 11
    finally:
        settings.register_profile("of-this-test", before)
        settings.load_profile("of-this-test")
