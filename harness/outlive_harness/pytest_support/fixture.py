"""The ``outlive`` fixture: tests that drive the harness themselves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, overload

from outlive_harness.explore.engine import replay
from outlive_harness.explore.golden import Record
from outlive_harness.explore.options import Options
from outlive_harness.explore.results import ScenarioResult, Trial
from outlive_harness.faults import table
from outlive_harness.plan import Plan, Point, parse_plan
from outlive_harness.pytest_support.driver import Driver
from outlive_harness.pytest_support.outcome import trial_unless_held, unless_held
from outlive_harness.scenario import CUTS, Scenario, ScenarioError, scenario

Told = TypeVar("Told", ScenarioResult, Trial)


class UntestableError(RuntimeError):
    """A scenario whose golden run gives nothing to compare with; the message says why."""


class Outlive:
    """Runs scenarios, commands and single plans, with the workers of the pytest run.

    One serves the whole test session, so it may be used together with hypothesis' @given.
    """

    def __init__(self, running: Driver) -> None:
        self._driver = running

    def __repr__(self) -> str:
        return "<outlive>"

    def run(
        self,
        scenario: Scenario,
        *,
        faults: str | Iterable[str] | None = None,
        depth: int = 1,
        points: int | None = None,
        seed: int | None = None,
        budget: float | None = None,
        profile: str | None = None,
        torn: str | None = None,
    ) -> ScenarioResult:
        """Explore a scenario and return its result: verdict, reason, violations, coverage.

        Args:
            scenario: what scenario() made.
            faults: the faults to strike with; None leaves it to the scenario, else ``kill``.
            depth: crashes in a row.
            points: how many crash points of each fault to sample; None for all.
            seed: decides the samples; None for that of --outlive-seed.
            budget: seconds after which no further trial is begun; None for no limit.
            profile: what the disk promises where the power is cut; None leaves it to the scenario.
            torn: where ``torn`` cuts a write, ``"pages"`` or ``"bytes"``; None leaves it to the scenario.

        Raises:
            ScenarioError: an argument is not of the form it should be; the message begins with it.
        """
        _check_scenario(scenario)
        if torn not in (None, *CUTS):
            raise ScenarioError(f"torn={torn!r} must be 'pages' or 'bytes'")
        _whole("depth", depth)
        if points is not None:
            _whole("points", points)
        if seed is None:
            seed = self._driver.seed
        elif not isinstance(seed, int):
            raise ScenarioError(f"seed={seed!r} must be a whole number")
        if budget is not None and not budget >= 0:
            raise ScenarioError(f"budget={budget!r} must be a number of seconds, 0 or more")
        options = Options(
            _names(faults), depth, points, budget, seed, self._driver.store, profile=profile, torn=torn
        )
        return self._driver.run(scenario, options)

    def check(  # noqa: PLR0913 - as many as run() takes, and its own
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        outputs: str | Iterable[str] = (),
        name: str = "command",
        faults: str | Iterable[str] | None = None,
        depth: int = 1,
        points: int | None = None,
        seed: int | None = None,
        budget: float | None = None,
        profile: str | None = None,
        **more: Any,  # noqa: ANN401 - scenario() knows what each must be
    ) -> ScenarioResult:
        """Explore a command, as ``outlive check`` does.

        Args:
            command: the program and its arguments; files are relative to the working directory.
            outputs: patterns of the files that readers see.
            name: how the result calls it.
            faults: as run() takes them, and all up to budget.
            depth: see there.
            points: see there.
            seed: see there.
            budget: see there.
            profile: see there.
            **more: other keywords of scenario(): input, restarts, timeout, append_only, ignore, litter, torn.

        Raises:
            ScenarioError: an argument is not of the form it should be; the message begins with it.
        """
        if isinstance(command, str) or not command:
            raise ScenarioError(f"command={command!r} must be a list: the program and its arguments")
        plain = [os.fspath(part) for part in command]
        made = scenario(command=plain, name=name, outputs=outputs, **more)
        made.file = os.path.join(os.getcwd(), "-")  # relative paths are the test's
        return self.run(
            made, faults=faults, depth=depth, points=points, seed=seed, budget=budget, profile=profile
        )

    def trial(self, scenario: Scenario, plan: Plan | Iterable[Point] | str) -> Trial:
        """Carry out one plan: crash the run, crash the recoveries, recover at last, and judge after each.

        Args:
            scenario: what scenario() made.
            plan: points, as strategies.plans() draws them, or a text such as ``"kill@12+kill@3"``.

        Returns:
            The trial. ``findings`` says what was violated. ``reached`` is False where a run ended
            before its crash point; then nothing was tested, and findings is empty.

        Raises:
            ScenarioError: an argument is not of the form it should be; the message begins with it.
            UntestableError: there is no golden run to compare with; the message says why.
        """
        _check_scenario(scenario)
        points = parse_plan(plan) if isinstance(plan, str) else tuple(plan)
        if not points or not all(isinstance(point, Point) for point in points):
            raise ScenarioError(f"plan={plan!r} must be one or more crash points, as 'kill@12+kill@3'")
        _names([point.fault for point in points], "plan")
        _, trial = self._replay(scenario, points)
        assert trial is not None
        return trial

    def ops(self, scenario: Scenario) -> int:
        """Return how many ops the golden run makes: the crash points of ``kill``.

        Raises:
            ScenarioError: an argument is not of the form it should be; the message begins with it.
            UntestableError: there is no golden run; the message says why.
        """
        _check_scenario(scenario)
        return len(self._replay(scenario, None)[0].ops)

    @overload
    def assert_held(self, subject: Scenario, **options: Any) -> ScenarioResult: ...  # noqa: ANN401 - run()'s

    @overload
    def assert_held(self, subject: Told) -> Told: ...

    def assert_held(
        self,
        subject: Scenario | ScenarioResult | Trial,
        **options: Any,
    ) -> ScenarioResult | Trial:
        """Fail the test unless a scenario holds; what is unknown does not. Return what was looked at.

        Args:
            subject: a scenario, which is run; a result of run() or check(); or a trial.
            **options: as run() takes them, for a scenario.

        Raises:
            AssertionError: it is violated or unknown; the message tells what, where and how it is
                seen again.
        """
        __tracebackhide__ = True
        if isinstance(subject, Trial):
            trial_unless_held("trial", subject)
            return subject
        result = subject if isinstance(subject, ScenarioResult) else self.run(subject, **options)
        unless_held(result)
        return result

    def _replay(self, scenario: Scenario, plan: Plan | None) -> tuple[Record, Trial | None]:
        record, trial = replay(self._driver.start(), scenario, plan, records=self._driver.records)
        if record.reason:
            raise UntestableError(f"{scenario.name}: {record.reason}")
        return record, trial


def _check_scenario(scenario: object) -> None:
    if not isinstance(scenario, Scenario):
        raise ScenarioError(f"scenario={scenario!r} must be a scenario: what @scenario(...) made")
    if scenario.body is None and scenario.command is None:
        raise ScenarioError(f"scenario={scenario!r} has neither a body nor a command")
    if scenario.body is not None and "<locals>" in getattr(scenario.body, "__qualname__", ""):
        raise ScenarioError(
            f"scenario={scenario!r} is declared inside a function, where its own process cannot find it: "
            "declare it at the top of the file, or with command=[...]"
        )
    if not scenario.name:
        raise ScenarioError(f"scenario={scenario!r} has no name: give it one with name=")


def _whole(key: str, value: object) -> None:
    if not isinstance(value, int) or value < 1:
        raise ScenarioError(f"{key}={value!r} must be a whole number from 1 on")


def _names(faults: str | Iterable[str] | None, key: str = "faults") -> tuple[str, ...] | None:
    if faults is None:
        return None
    names = (faults,) if isinstance(faults, str) else tuple(faults)
    known = table()
    for name in names:
        if name not in known:
            raise ScenarioError(f"{key}={name!r} is no fault; there are: {', '.join(known)}")
    if not names:
        raise ScenarioError(f"{key}={faults!r} must name at least one fault")
    return names
