"""The ``outlive`` fixture: tests that drive the harness themselves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from outlive_harness.drawn.subject import UntestableError, check_scenario
from outlive_harness.explore.replay import replay
from outlive_harness.faults.table import NAMES
from outlive_harness.golden.record import Record
from outlive_harness.results.keywords import KEYWORD, with_option
from outlive_harness.results.options import Options
from outlive_harness.results.plan import Plan, Point, parse_plan
from outlive_harness.results.scenario import NO_FILE, Scenario, ScenarioError, scenario
from outlive_harness.results.trials import Trial
from outlive_harness.results.value_kinds import listed, whole
from outlive_harness.results.verdicts import ScenarioResult

from .driver import Driver
from .outcome import trial_unless_held, unless_held

if TYPE_CHECKING:  # hypothesis is slow to import, and not every test needs it
    from outlive_harness.drawn.crashes import Crash

Judged = TypeVar("Judged", ScenarioResult, Trial)
#: Keywords of which run() takes a value of its own.
_FOR_ALL = with_option("pytest", is_for_all=True)


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
        check_scenario(scenario)
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
        check_scenario(scenario)
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
        check_scenario(scenario)
        return len(self._replay(scenario, None)[0].ops)

    def survives(
        self,
        subject: Scenario | Sequence[str | os.PathLike[str]],
        crash: Crash | Iterable[Point] | str,
        *,
        files: Mapping[str, object] | None = None,
        outputs: str | Iterable[str] = (),
        **keywords: Any,  # noqa: ANN401 - scenario() knows the type of each
    ) -> Trial | None:
        """Fail the test unless a pipeline survives a crash, with an input that the test has drawn.

        As ``outlive_harness.strategies.survives()``, which has the arguments and the errors.
        """
        __tracebackhide__ = True
        survivor = self._driver.survivor()
        return survivor.survives(subject, crash, files=files or {}, outputs=outputs, keywords=keywords)

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
