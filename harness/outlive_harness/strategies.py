"""For hypothesis: crashes and plans, which shrink to the smallest that fails, and what judges them."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from outlive_harness.drawn.crashes import Crash, crashes
from outlive_harness.drawn.failure import NotSurvived
from outlive_harness.drawn.profile import outlive_settings
from outlive_harness.drawn.subject import UntestableError
from outlive_harness.drawn.survivor import Survivor
from outlive_harness.faults.table import RUN_FAULTS
from outlive_harness.results.options import DEFAULT_FAULTS, STORE
from outlive_harness.results.plan import Plan, Point
from outlive_harness.results.scenario import Scenario
from outlive_harness.results.trials import Trial

__all__ = ["Crash", "NotSurvived", "UntestableError", "crashes", "outlive_settings", "plans", "survives"]

#: Of this process, by the directory of failures.
_survivors: dict[Path, Survivor] = {}


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


def survives(
    subject: Scenario | Sequence[str | os.PathLike[str]],
    crash: Crash | Iterable[Point] | str,
    *,
    files: Mapping[str, object] | None = None,
    outputs: str | Iterable[str] = (),
    **keywords: Any,  # noqa: ANN401 - scenario() knows the type of each
) -> Trial | None:
    """Raise an error unless a pipeline survives a crash, with an input that a test has drawn.

    The pipeline runs with the input and no fault, which is the golden run of this input; once more with the
    crash; and then again, to recover. No output may be visible half-written, and in the end all must be
    as the golden run left them. The fixture ``outlive`` has a method of this name, for pytest; this function
    is for other runners. Its worker ends with the process.

    An input that yields no output tests nothing: hypothesis drops it, as by ``assume()``. An output that only
    some inputs yield is judged if there is one.

    Args:
        subject: the program and its arguments, where existing files are relative to the working directory;
            or a scenario, made by scenario().
        crash: drawn by crashes(); or a plan, as a text such as ``"kill@12+kill@3"``, or points.
        files: the files that the box holds at first, by path: a text, bytes, or what ``*.csv`` (a list of
            rows) and ``*.json`` can hold. They are added to the files of ``input``, if that is given.
        outputs: patterns of the files that readers see; by default every file of the box.
        **keywords: other keywords of scenario(), for a command.

    Returns:
        The trial; None if the input yields no output and hypothesis does not run the test.

    Raises:
        NotSurvived: something was violated. The failure is kept under ``.outlive/`` with its input, and the
            message holds the command that replays it, now or later.
        UntestableError: the golden run gives nothing to compare with: the pipeline fails on this input with
            no fault, or its outputs differ from run to run.
        ScenarioError: an argument has a wrong type or value; the message begins with its name.
    """
    __tracebackhide__ = True
    store = STORE.absolute()
    if store not in _survivors:
        _survivors[store] = Survivor(store)
        atexit.register(_survivors[store].close)
    return _survivors[store].survives(subject, crash, files=files or {}, outputs=outputs, keywords=keywords)
