"""Scenarios explored, several at a time, each to its verdict."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from outlive_harness.history.baseline import Baseline
from outlive_harness.history.golden_runs import Records, Shared
from outlive_harness.history.ledger import Ledger
from outlive_harness.history.regressions import regressions_of
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import HarnessError
from outlive_harness.results.options import Options
from outlive_harness.results.scenario import Scenario, ScenarioError
from outlive_harness.results.verdicts import RunResult
from outlive_harness.search.choices import faults_of, profile_of

from .budget import Budget
from .case import Case, Explainer, Surroundings
from .conclude import cut_short
from .drive import Drive
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

    An interrupt ends it early, and the results so far are returned, marked as interrupted.

    Args:
        session: the session whose workers do the tasks.
        scenarios: the scenarios.
        options: the user's choices.
        observer: gets the news.
        ledger: holds known results, and takes new ones.
        explain: finds the sources of violations, if the options ask for it.
        records: removes golden runs that are not needed any more; without it, all processes that share the
            session's directory share them until it ends.
        baseline: the known violations.

    Raises:
        ScenarioError: a fault is unknown, two scenarios have one name, or a file of regressions is damaged.
        HarnessError: a fault of ours.
    """
    begun = time.monotonic()
    _check(scenarios, options)
    end = None if options.budget is None else time.time() + options.budget
    observer = observer or Silent()
    budget = Budget(end, len(scenarios))
    around = Surroundings(session, options, budget, records or Shared(), ledger, explain, baseline, observer)
    cases = [Case(around, one, regressions_of(one, options)) for one in scenarios]
    drive = Drive(session, {one.scenario.name: one.explore() for one in cases}, observer)
    is_interrupted = _run(drive)
    for case in cases:
        if case.scenario.name not in drive.results:
            case.result.interrupted = True
            drive.results[case.scenario.name] = cut_short(case.result, "interrupted")
    results = [drive.results[one.name] for one in scenarios]
    return RunResult(results, options.seed, time.monotonic() - begun, is_interrupted, session.workers)


def _run(drive: Drive) -> bool:
    """Run explorations; return whether an interrupt ended them early."""
    try:
        drive.run()
    except KeyboardInterrupt as stop:
        for exploration in drive.explorations.values():
            with contextlib.suppress(KeyboardInterrupt, StopIteration):
                exploration.throw(stop)  # each merges what it has
        return True
    finally:
        for exploration in drive.explorations.values():  # while the queue still has their jobs
            with contextlib.suppress(HarnessError):
                exploration.close()
    return False


def _check(scenarios: Sequence[Scenario], options: Options) -> None:
    """Refuse two scenarios of one name, and unknown faults and profiles."""
    seen: dict[str, Scenario] = {}
    for scenario in scenarios:
        other = seen.setdefault(scenario.name, scenario)
        if other is not scenario:
            raise ScenarioError(
                f"two scenarios are named {scenario.name!r}: {other.file}:{other.line} and "
                f"{scenario.file}:{scenario.line}; give one of them another name"
            )
    for scenario in scenarios:
        faults_of(options, scenario)
        profile_of(options, scenario)
