"""Scenario files as pytest collectors, and scenarios as items, one for each fault.

An item is judged by its own fault alone. A known-bad scenario that names several faults is one item: it
passes if they show together what ``expect=`` names.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from _pytest.fixtures import TopRequest

from outlive_harness.faults.table import FAULTS
from outlive_harness.jobs.tasks import HarnessError
from outlive_harness.results.options import Options
from outlive_harness.results.scenario import Scenario, ScenarioError
from outlive_harness.results.scenario_files import load_file
from outlive_harness.results.verdicts import Coverage, Verdict
from outlive_harness.search.choices import faults_of, none_asked_for

from .configured import filled
from .driver import driver
from .outcome import NotHeld, to_property, unless_held
from .stash import FILES

#: The fault in an item's name if no fault that is asked for makes sense for the scenario.
NO_FAULT = "none"


@dataclass(slots=True)
class Files:
    """Facts about the collected scenario files.

    Attributes:
        places: the file and line of each scenario, by its name.
        broken: how many files could not be collected.
    """

    places: dict[str, str] = field(default_factory=dict)
    broken: int = 0


class ScenarioFile(pytest.File):
    """One scenario file."""

    def collect(self) -> list[ScenarioItem]:
        """Return an item for each scenario and fault; nothing is run yet."""
        files = self.config.stash.setdefault(FILES, Files())
        try:
            return list(self._items(files))
        except Exception:
            files.broken += 1
            raise

    def _items(self, files: Files) -> Iterator[ScenarioItem]:
        options = Options(faults=self.config.getoption("outlive_faults"))
        for scenario in map(self._filled, self._load()):
            place = f"{scenario.file}:{scenario.line}"
            other = files.places.setdefault(scenario.name, place)
            if other != place:
                raise self.CollectError(
                    f"two scenarios are named {scenario.name!r}: {other} and {place}; "
                    "give one of them another name"
                )
            try:
                faults = faults_of(options, scenario) or (NO_FAULT,)
            except ScenarioError as error:
                raise self.CollectError(f"{place}: {error}") from error
            if scenario.expect and scenario.faults and len(faults) > 1:
                faults = ("+".join(faults),)
            if any(mark.name == "parametrize" for mark in scenario.marks):
                raise self.CollectError(
                    f"{place}: {scenario.name!r} has @pytest.mark.parametrize, which gives a body no values: "
                    "write @scenario(params={'n': [1, 2]})"
                )
            for fault in faults:
                # As pytest names a test with two parameters, of which the fault is the last.
                name = f"{scenario.name[:-1]}-{fault}]" if scenario.given else f"{scenario.name}[{fault}]"
                # A text, which pytest splits as it splits the node ids that it keeps for --lf and --sw.
                whole = f"{self.nodeid}::{name}"
                yield ScenarioItem.from_parent(self, name=name, nodeid=whole, scenario=scenario, fault=fault)

    def _filled(self, scenario: Scenario) -> Scenario:
        try:
            return filled(self.config, scenario)
        except ScenarioError as error:
            raise self.CollectError(str(error)) from error

    def _load(self) -> list[Scenario]:
        try:
            return load_file(self.path)
        except ScenarioError as error:
            # The line of the declaration; an error of the whole file has its place in its message.
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if self._is_mine(frame)]
            where = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
            raise self.CollectError(f"{where}{error}") from error
        except (SyntaxError, SystemExit) as error:
            # pytest would show a SyntaxError with our frames, and end at a SystemExit.
            text = "".join(traceback.format_exception_only(error)).rstrip()
            raise self.CollectError(f"{self.path} does not import:\n{text}") from error
        except Exception as error:
            # A text, as for pytest's own modules: xdist compares it between workers.
            excinfo = pytest.ExceptionInfo.from_exception(error)
            excinfo.traceback = excinfo.traceback.cut(path=self.path)
            text = str(excinfo.getrepr(style="short"))
            raise self.CollectError(f"{self.path} does not import:\n{text}") from error

    def _is_mine(self, frame: traceback.FrameSummary) -> bool:
        return Path(frame.filename).resolve() == self.path.resolve()


class ScenarioItem(pytest.Item):
    """One scenario under one fault."""

    def __init__(self, *, scenario: Scenario, fault: str, **more: Any) -> None:  # noqa: ANN401 - pytest's own
        super().__init__(**more)
        self.scenario = scenario
        self.fault = fault
        self.own_markers.extend(scenario.marks)
        self.keywords.update({mark.name: mark for mark in scenario.marks})
        self._named = [name for mark in self.iter_markers("usefixtures") for name in mark.args]
        if self._named or hasattr(scenario.body, "__globals__"):
            self.obj = scenario.body  # where pytest looks up a line, and the names in a condition
        if self._named:
            self._begin_request()

    def _begin_request(self) -> None:
        """Prepare for the fixtures that are named, as pytest does for its own items that are no functions."""
        known = self.session._fixturemanager  # noqa: SLF001 - there is no public way
        self._fixtureinfo = known.getfixtureinfo(node=self, func=None, cls=None)
        self.fixturenames = self._fixtureinfo.names_closure
        self.funcargs: dict[str, object] = {}
        self._request = TopRequest(self, _ispytest=True)  # type: ignore[arg-type]

    def setup(self) -> None:
        """Set up the fixtures that usefixtures names; the runs get the environment that they leave."""
        for name in self._named:
            self._request.getfixturevalue(name)

    def runtest(self) -> None:
        """Explore the scenario; fail if it is violated or unknown."""
        if self.fault == NO_FAULT:
            asked_for = Options(faults=self.config.getoption("outlive_faults"))
            pytest.skip(none_asked_for(asked_for, self.scenario))
        several = (item for item in self.session.items if isinstance(item, ScenarioItem))
        items = sum(1 for item in several if item.fault != NO_FAULT)
        running = driver(self.config)
        with running.options(tuple(self.fault.split("+")), items=items) as options:
            result = running.run(self.scenario, options, is_item=True)
        fault = FAULTS.get(self.fault)
        if (
            fault is not None
            and fault.no_points
            and result.ops
            and result.faults.get(self.fault) == Coverage()
            and result.verdict is Verdict.UNKNOWN
        ):
            pytest.skip(result.reason)  # another fault's item covers the scenario
        self.user_properties.append(("outlive", to_property(result, self.fault, running.seed)))
        if result.verdict is Verdict.SKIPPED:
            pytest.skip(result.reason)
        unless_held(result)

    def repr_failure(
        self,
        excinfo: pytest.ExceptionInfo[BaseException],
        style: Any = None,  # noqa: ANN401 - as above
    ) -> Any:  # noqa: ANN401 - as above
        """Return the violations as text; a traceback through our code would be of no use."""
        if isinstance(excinfo.value, NotHeld):
            return excinfo.getrepr(style="value")
        if isinstance(excinfo.value, ScenarioError):  # of a file that was asked for: a baseline, regressions
            return str(excinfo.value)
        if isinstance(excinfo.value, HarnessError):
            return f"a fault of ours, not of the pipeline; please report it\n{excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return where the scenario is declared."""
        return self.path, self.scenario.line - 1, self.name
