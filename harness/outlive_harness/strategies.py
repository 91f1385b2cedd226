"""Strategies for hypothesis: random plans of crashes, which shrink to the smallest that fails."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from outlive_harness.faults.table import RUN_FAULTS
from outlive_harness.results.options import DEFAULT_FAULTS
from outlive_harness.results.plan import Plan, Point


def plans(
    ops: int, *, faults: str | Iterable[str] = DEFAULT_FAULTS, max_crashes: int = 3
) -> SearchStrategy[Plan]:
    """Return a strategy for plans of one to several crashes.

    The first point of a plan is in the first run, and each later one in the recovery from the crash before
    it. Plans shrink to fewer crashes and to earlier ops::

        @given(plan=plans(ops=49))
        @settings(deadline=None)  # a trial runs the pipeline several times
        def test_survives(outlive, plan):
            trial = outlive.trial(my_pipeline, plan)
            assume(trial.reached)
            outlive.assert_held(trial)

    A recovery may make fewer ops than the first run. A point past its end is not reached:
    ``trial.reached`` is then False, nothing was tested, and ``assume(trial.reached)`` drops the plan.

    Args:
        ops: the number of ops of the pipeline: ``outlive test`` prints it, ``outlive.ops()`` returns it.
        faults: faults whose points are whole ops: ``kill``, ``full``, ``eio``, ``term``.
        max_crashes: the greatest number of crashes in a row.

    Raises:
        ValueError: an argument has a wrong type or value; the message begins with its name.
    """
    numbers: tuple[tuple[str, object], ...] = (("ops", ops), ("max_crashes", max_crashes))
    for key, number in numbers:
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"{key}={number!r} must be a whole number from 1 on")
    names = (faults,) if isinstance(faults, str) else tuple(faults)
    # Not torn, whose points depend on the lengths of writes; not timer, whose points are no ops; not power,
    # where the disk model says what can be lost.
    known = sorted(name for name, fault in RUN_FAULTS.items() if fault.counts_ops and not fault.is_recorded)
    for name in names:
        if name not in known:
            raise ValueError(f"faults={name!r} must be among {', '.join(known)}")
    if not names:
        raise ValueError(f"faults={faults!r} must name at least one fault")
    point = st.tuples(st.sampled_from(names), st.integers(1, ops)).map(lambda pair: Point(*pair))
    return st.lists(point, min_size=1, max_size=max_crashes).map(tuple)
