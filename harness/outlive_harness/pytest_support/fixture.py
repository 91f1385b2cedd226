"""The ``outlive`` fixture: tests that drive the harness themselves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import Any, TypeVar, overload

from outlive_harness.explore.replay import replay
from outlive_harness.faults.table import NAMES
from outlive_harness.golden.record import Record
from outlive_harness.results.keywords import KEYWORD, listed, whole, with_option
from outlive_harness.results.options import Options
from outlive_harness.results.plan import Plan, Point, parse_plan
from outlive_harness.results.scenario import NO_FILE, Scenario, ScenarioError, scenario
from outlive_harness.results.trials import Trial
from outlive_harness.results.verdicts import ScenarioResult

from .driver import Driver
from .outcome import trial_unless_held, unless_held

Judged = TypeVar("Judged", ScenarioResult, Trial)
#: Keywords of which run() takes a value of its own.
_FOR_ALL = with_option("pytest", is_for_all=True)


class UntestableError(RuntimeError):
    """The golden run of a scenario gives nothing to compare with; the message says why."""


class Outlive:
    """Runs scenarios, commands and single plans, with the workers of the pytest run.

    The fixture is one for the whole test session, so it may be used together with hypothesis' @given.
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
            scenario: a scenario, made by scenario().
            faults: the faults to inject; by default those of the scenario, else ``kill``.
            depth: crashes in a row.
            points: how many crash points of each fault to sample; by default all.
            seed: decides the samples; by default the value of --outlive-seed.
            budget: seconds after which no further trial begins; by default there is no limit.
            profile: what the disk promises when the power is cut; by default that of the scenario.
            torn: where ``torn`` cuts a write, ``"pages"`` or ``"bytes"``; by default that of the scenario.

        Raises:
            ScenarioError: an argument has a wrong type or value; the message begins with its name.
        """
        _check_scenario(scenario)
        for name, value in (("depth", depth), ("torn", torn or "")):
            KEYWORD[name].checked(value)
        if points is not None:
            whole("points", points)
        if seed is None:
            seed = self._driver.seed
        elif not isinstance(seed, int):
            raise ScenarioError(f"seed={seed!r} must be a whole number")
        if budget is not None and not budget >= 0:
            raise ScenarioError(f"budget={budget!r} must be a number of seconds, 0 or more")
        options = Options(
            faults=_names(faults),
            depth=depth,
            points=points,
            budget=budget,
            seed=seed,
            store=self._driver.store,
            profile=profile,
            torn=torn,
        )
        wanted = {"faults": faults, "profile": profile, "torn": torn, "depth": depth if depth > 1 else None}
        asked = [name for name, value in wanted.items() if value is not None]
        return self._driver.run(self._driver.filled(scenario, asked=asked), options)

    def check(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        outputs: str | Iterable[str] = (),
        name: str = "command",
        points: int | None = None,
        seed: int | None = None,
        budget: float | None = None,
        **keywords: Any,  # noqa: ANN401 - scenario() and run() know the type of each
    ) -> ScenarioResult:
        """Explore a command, as ``outlive check`` does.

        Args:
            command: the program and its arguments; files are relative to the working directory.
            outputs: patterns of the files that readers see.
            name: the command's name in the result.
            points: as run() takes it.
            seed: as run() takes it.
            budget: as run() takes it.
            **keywords: faults, depth, profile and torn, as run() takes them, and the other keywords of
                scenario().

        Raises:
            ScenarioError: an argument has a wrong type or value; the message begins with its name.
        """
        if isinstance(command, str) or not command:
            raise ScenarioError(f"command={command!r} must be a list: the program and its arguments")
        plain = [os.fspath(part) for part in command]
        asked = {one.name: keywords.pop(one.name) for one in _FOR_ALL if one.name in keywords}
        made = scenario(command=plain, name=name, outputs=outputs, **keywords)
        made.file = os.path.join(os.getcwd(), NO_FILE)  # relative paths start where the test runs
        filled = self._driver.filled(made, door="check", asked=(*asked, *keywords))
        return self.run(filled, points=points, seed=seed, budget=budget, **asked)

    def trial(self, scenario: Scenario, plan: Plan | Iterable[Point] | str) -> Trial:
        """Carry out one plan: crash the run and the recoveries, recover, and judge after each.

        Args:
            scenario: a scenario, made by scenario().
            plan: points, as strategies.plans() draws them, or a text such as ``"kill@12+kill@3"``.

        Returns:
            The trial. ``findings`` holds what was violated. ``reached`` is False if a run ended before its
            crash point; nothing was tested then, and ``findings`` is empty.

        Raises:
            ScenarioError: an argument has a wrong type or value; the message begins with its name.
            UntestableError: the golden run gives nothing to compare with; the message says why.
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
        """Return the number of ops of the golden run, each a crash point of ``kill``.

        Raises:
            ScenarioError: an argument has a wrong type or value; the message begins with its name.
            UntestableError: there is no golden run; the message says why.
        """
        _check_scenario(scenario)
        return len(self._replay(scenario, None)[0].ops)

    @overload
    def assert_held(self, subject: Scenario, **options: Any) -> ScenarioResult: ...  # noqa: ANN401 - run()'s

    @overload
    def assert_held(self, subject: Judged) -> Judged: ...

    def assert_held(
        self,
        subject: Scenario | ScenarioResult | Trial,
        **options: Any,
    ) -> ScenarioResult | Trial:
        """Fail the test unless a scenario holds; an unknown one does not. Return the result or the trial.

        Args:
            subject: a scenario, which is run; a result of run() or check(); or a trial.
            **options: as run() takes them, for a scenario.

        Raises:
            AssertionError: it is violated or unknown; the message says what, where, and how to replay it.
        """
        __tracebackhide__ = True
        if isinstance(subject, Trial):
            trial_unless_held("trial", subject)
            return subject
        result = subject if isinstance(subject, ScenarioResult) else self.run(subject, **options)
        unless_held(result)
        return result

    def _replay(self, scenario: Scenario, plan: Plan | None) -> tuple[Record, Trial | None]:
        filled = self._driver.filled(scenario)
        record, trial = replay(self._driver.start(), filled, plan, records=self._driver.records)
        if record.reason:
            raise UntestableError(f"{scenario.name}: {record.reason}")
        return record, trial


def _check_scenario(scenario: object) -> None:
    if not isinstance(scenario, Scenario):
        raise ScenarioError(f"scenario={scenario!r} must be a scenario, made by @scenario(...)")
    if scenario.body is None and scenario.command is None:
        raise ScenarioError(f"scenario={scenario!r} has neither a body nor a command")
    if not scenario.name:
        raise ScenarioError(f"scenario={scenario!r} has no name: give it one with name=")
    if scenario.params and not scenario.given:
        raise ScenarioError(f"scenario={scenario!r} has params: run each of its cases()")
    if scenario.body is not None:
        _check_name(scenario)


def _check_name(scenario: Scenario) -> None:
    """Return if the process of a body, which imports its file, finds it there by its name.

    Raises:
        ScenarioError: no variable at the top of the file holds it, or another has its name.
    """
    holders = (module for module in list(sys.modules.values()) if _file_of(module) == scenario.file)
    for module in holders:
        held = [one for one in vars(module).values() if isinstance(one, Scenario) and one.body is not None]
        several = {id(case.body) for one in held for case in one.cases() if case.name == scenario.name}
        if len(several) > 1 and id(scenario.body) in several:
            raise ScenarioError(
                f"scenario={scenario!r} is not the only one of its name in its file: give each one of "
                "its own with name="
            )
        if id(scenario.body) in several:
            return
    if "<locals>" not in getattr(scenario.body, "__qualname__", ""):
        return
    raise ScenarioError(
        f"scenario={scenario!r} is declared inside a function, where its own process cannot find it: "
        "assign it to a name at the top of the file, or declare it with command=[...]"
    )


def _file_of(module: object) -> str:
    name = vars(module).get("__file__") if isinstance(module, ModuleType) else None
    return os.path.abspath(name) if isinstance(name, str) else ""


def _names(faults: str | Iterable[str] | None, key: str = "faults") -> tuple[str, ...] | None:
    if faults is None:
        return None
    names = listed(key, faults)
    for name in names:
        if name not in NAMES:
            raise ScenarioError(f"{key}={name!r} is not a fault; there are: {', '.join(NAMES)}")
    if not names:
        raise ScenarioError(f"{key}={faults!r} must name at least one fault")
    return names
