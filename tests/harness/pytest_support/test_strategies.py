"""Strategies: random plans that shrink to the shortest sequence of crashes that fails."""

import pytest
from hypothesis import find, given, settings

from outlive_harness.results.plan import Point, parse_plan, plan_text
from outlive_harness.strategies import plans


@given(plans(ops=49, faults=("kill", "eio"), max_crashes=4))
@settings(deadline=None, derandomize=True, database=None)
def test_plans_are_within_their_bounds(plan):
    """One to four points, of the faults asked for, within the run; each is a replay id."""
    assert 1 <= len(plan) <= 4
    assert all(point.fault in ("kill", "eio") and 1 <= point.at <= 49 for point in plan)
    assert parse_plan(plan_text(plan)) == plan


def test_plans_shrink_to_the_shortest_and_earliest():
    """Fewest crashes first, then the smallest op numbers."""
    found = find(plans(ops=100), lambda plan: any(point.at >= 20 for point in plan))
    assert found == (Point("kill", 20),)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ops": 0}, "ops=0 must be"),
        ({"ops": 1, "max_crashes": 0}, "max_crashes=0 must be"),
        ({"ops": 1, "faults": ("bang",)}, "faults='bang' must be among eio, full, kill, term"),
        ({"ops": 1, "faults": ()}, r"faults=\(\) must name at least one"),
    ],
)
def test_wrong_arguments_are_told_by_name_and_value(wrong, message):
    """Messages begin with the argument's name and the value that it had."""
    with pytest.raises(ValueError, match=f"^{message}"):
        plans(**wrong)


def test_a_users_own_test_gets_the_shortest_plan_that_fails(pytester):
    """The whole way: @given(plans(...)), the fixture's trial(), and a minimal sequence of two crashes."""
    pytester.makepyfile("""
        import os, sys
        from hypothesis import assume, given, settings, HealthCheck
        from outlive_harness import scenario
        from outlive_harness.strategies import plans

        SCRIPT = '''
        [ -e broken ] && exit 9
        if [ -e dirty ]; then : > broken; rm dirty; rm broken; fi
        : > dirty; echo x > t; mv t o; rm dirty
        '''
        twice = scenario(command=["sh", "-c", SCRIPT], name="twice", outputs="o")

        @given(plan=plans(ops=12))
        @settings(deadline=None, max_examples=40, derandomize=True, database=None,
                  suppress_health_check=list(HealthCheck))
        def test_twice(outlive, plan):
            trial = outlive.trial(twice, plan)
            assume(trial.reached)
            assert not trial.findings
    """)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    done.assert_outcomes(failed=1)
    point = "Point(fault='kill', at=2, part=0, lost=())"
    assert f"plan=({point}, {point})" in done.stdout.str()
