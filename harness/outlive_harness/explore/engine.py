"""Scenarios explored, several at a time, each to its verdict."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence

from outlive_harness.history.baseline import Baseline
from outlive_harness.history.golden_runs import Records, Shared
from outlive_harness.history.ledger import Ledger
from outlive_harness.history.regressions import regressions_of
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import HarnessError
from outlive_harness.results.options import Options
from outlive_harness.results.scenario import Scenario, ScenarioError
from outlive_harness.results.verdicts import RunResult, ScenarioResult
from outlive_harness.search.choices import faults_of, profile_of

from .budget import Budget
from .case import Case, Explainer, Surroundings
from .conclude import cut_short
from .drive import drive
from .observer import Observer, Silent


def explore(
    session: Session,
    scenarios: Sequence[Scenario],
    options: Options,
    observer: Observer | None = None,
    *,
    ledger: Ledger | None = None,
    explain: Explainer | None = None,
    records: Records | None = None,
    baseline: Baseline | None = None,
) -> RunResult:
    """Explore scenarios, several at a time, and return their results in the order given.

    An interrupt ends it early: what was found so far is returned, marked as interrupted.

    Args:
        session: whose workers do it.
        scenarios: what is explored.
        options: what the user chose.
        observer: gets the news.
        ledger: has the results that are known already, and takes new ones.
        explain: says of violations where they come from, if the options ask for it.
        records: removes golden runs that are not needed any more; without it all who share the session's
            directory share them, to its end.
        baseline: the violations that are known today.

    Raises:
        ScenarioError: a fault that does not exist, two scenarios of one name, a damaged file of regressions.
        HarnessError: a fault of ours.
    """
    observer = observer or Silent()
    begun = time.monotonic()
    _check_names(scenarios)
    for scenario in scenarios:
        faults_of(options, scenario)
        profile_of(options, scenario)
    end = None if options.budget is None else time.time() + options.budget
    around = Surroundings(
        session, options, Budget(end, len(scenarios)), records or Shared(), ledger, explain, baseline
    )
    cases = [Case(around, one, regressions_of(one, options)) for one in scenarios]
    explorations = {one.scenario.name: one.explore() for one in cases}
    results: dict[str, ScenarioResult] = {}
    interrupted = False
    try:
        drive(session, explorations, results, observer)
    except KeyboardInterrupt as stop:
        interrupted = True
        for exploration in explorations.values():
            with contextlib.suppress(KeyboardInterrupt, StopIteration):
                exploration.throw(stop)  # each merges what it has
    finally:
        for exploration in explorations.values():  # while the queue is there that has their jobs
            with contextlib.suppress(HarnessError):
                exploration.close()
    for case in cases:
        if case.scenario.name not in results:
            case.result.interrupted = True
            results[case.scenario.name] = cut_short(case.result, "interrupted")
    several = [results[one.name] for one in scenarios]
    return RunResult(several, options.seed, time.monotonic() - begun, interrupted)


def _check_names(scenarios: Iterable[Scenario]) -> None:
    seen: dict[str, Scenario] = {}
    for scenario in scenarios:
        other = seen.setdefault(scenario.name, scenario)
        if other is not scenario:
            raise ScenarioError(
                f"two scenarios are named {scenario.name!r}: {other.file}:{other.line} and "
                f"{scenario.file}:{scenario.line}; give one of them another name"
            )
