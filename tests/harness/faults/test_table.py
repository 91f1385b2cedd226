"""The table of faults: traits that name other faults name those that exist."""

import pytest

from outlive_harness.faults.table import FAULTS, NAMES, RUN_FAULTS, STAND_IN
from outlive_harness.results.plan import Point, parse_plan


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_ends_as_another_fault_sends_a_signal(fault):
    """The other fault is one of those injected into a run, and without a signal there is no other."""
    assert fault.ends_as in {"", *RUN_FAULTS}
    assert bool(fault.ends_as) == bool(fault.signal_at(Point(fault.name, 1)))


def test_one_fault_needs_no_interception():
    """It stands in for the others on a machine without it, and is never exhaustive."""
    assert [name for name in NAMES if not FAULTS[name].intercepts] == [STAND_IN.name]
    assert STAND_IN.leaves_out


@pytest.mark.parametrize("name", FAULTS)
def test_each_name_can_stand_in_a_replay_id(name):
    """A plan of any fault reads back as it was written."""
    assert parse_plan(f"{name}@3") == (Point(name, 3),)
