"""The pytest plugin: it collects scenario files, and makes an item of each scenario and fault.

pytest imports this module in every run of every project that has it installed, so it imports almost nothing:
the hooks import what they need once there are scenarios.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from outlive_harness.results import value_kinds
from outlive_harness.results.keywords import with_option
from outlive_harness.results.scenario_files import is_scenario_file
from outlive_harness.results.value_kinds import seconds_of


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, and the ini value with the directories of scenarios."""
    group = parser.getgroup("outlive", "crash scenarios")
    for one in with_option("pytest"):
        facts = (
            {"choices": one.choices} if one.choices else {"type": _TYPES[one.kind], "metavar": one.metavar}
        )
        group.addoption(f"--outlive-{one.flag}", help=one.help, **facts)
    group.addoption("--outlive-seed", type=int, metavar="N", help="Decides every sample; by default 0.")
    group.addoption(
        "--outlive-budget",
        type=_seconds,
        metavar="SECONDS",
        help="Time for all scenarios together. A scenario that is cut off is unknown, and fails; time that "
        "is left is used for deeper plans.",
    )
    group.addoption(
        "--outlive-baseline",
        type=Path,
        metavar="FILE",
        help="Violations that are known today, as outlive test --update-baseline writes them.",
    )
    group.addoption(
        "--outlive-no-zygote", action="store_true", help="Exec each trial, also where a fork would do."
    )
    group.addoption("--outlive-points", type=_whole, metavar="N", help="Sample N crash points of each fault.")
    group.addoption(
        "--outlive-select",
        choices=("auto", "all", "distinct"),
        help="Crash points: all; distinct: one of each group of similar points; auto, by default: all unless "
        "very many.",
    )
    parser.addini("outlive_scenarios", "Directories of scenario files.", type="args", default=["scenarios"])


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1 on")
    return int(text)


def _seconds(text: str) -> float:
    seconds = seconds_of(text)
    if seconds is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be a number of seconds, 0 or more, as 60 or 60s or 2m"
        )
    return seconds


def _faults(text: str) -> tuple[str, ...]:
    from outlive_harness.faults.table import NAMES  # noqa: PLC0415 - only if faults are named

    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"unknown fault {name!r}; there are: {', '.join(NAMES)}")
    if not names:
        raise argparse.ArgumentTypeError(f"{text!r} names no fault; there are: {', '.join(NAMES)}")
    return names


def _profile(text: str) -> str:
    from outlive_harness.disk.profiles import PROFILES  # noqa: PLC0415 - only if one is named

    if text not in PROFILES:
        raise argparse.ArgumentTypeError(f"unknown profile {text!r}; there are: {', '.join(PROFILES)}")
    return text


#: What argparse calls on the text of a keyword's option.
_TYPES: dict[Callable[[str, object], object], Callable[[str], object]] = {
    value_kinds.faults: _faults,
    value_kinds.profile: _profile,
    value_kinds.whole: _whole,
}

# -- collection ------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Generator[None, list[Any], list[Any]]:
    """Collect a scenario file as such, and not also as a test module."""
    collectors = yield
    if not is_scenario_file(file_path):
        return collectors
    is_named = parent.session.isinitpath(file_path) and _has_only_scenarios(file_path)
    if not (is_named or _is_below(file_path, parent.config)):
        return collectors
    from outlive_harness.pytest_support.collect import ScenarioFile  # noqa: PLC0415 - see the module

    return [ScenarioFile.from_parent(parent, path=file_path)]


def _has_only_scenarios(path: Path) -> bool:
    """Return whether a file that the command line names speaks of scenarios, and has no tests of pytest."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "scenario" in text and _TEST.search(text) is None


#: The beginning of a test, as pytest names them by default.
_TEST = re.compile(r"^\s*(?:(?:async\s+)?def\s+test|class\s+Test)", re.MULTILINE)


def _directories(config: pytest.Config) -> list[Path]:
    return [config.rootpath / name for name in config.getini("outlive_scenarios")]


def _is_below(path: Path, config: pytest.Config) -> bool:
    return any(path.is_relative_to(directory) for directory in _directories(config))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """In an xdist worker with scenarios, start the harness worker before any work is handed out."""
    from outlive_harness.pytest_support.stash import FILES  # noqa: PLC0415 - a few lines

    if FILES in session.config.stash and hasattr(session.config, "workerinput"):
        from outlive_harness.pytest_support.driver import driver  # noqa: PLC0415 - see the module

        driver(session.config).join()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Run what was collected, even if a scenario file could not be: its error fails the run anyway."""
    from outlive_harness.pytest_support.stash import FILES  # noqa: PLC0415 - a few lines

    files = session.config.stash.get(FILES, None)
    if files is None or files.broken != session.testsfailed:
        return (yield)
    option = session.config.option
    before, option.continue_on_collection_errors = option.continue_on_collection_errors, True
    try:
        return (yield)
    finally:
        option.continue_on_collection_errors = before


# -- xdist, and the end ----------------------------------------------------------------------------


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401 - of xdist, which may not be installed
    """In xdist's controller, tell each worker process the directory that all share."""
    if any(directory.is_dir() for directory in _directories(node.config)):
        from outlive_harness.pytest_support.driver import shared_root  # noqa: PLC0415 - see the module

        node.workerinput["outlive_root"] = str(shared_root(node.config))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Help other processes until all are done, then end what was started."""
    from outlive_harness.pytest_support.stash import DRIVER, ROOT  # noqa: PLC0415 - a few lines

    stash = session.config.stash
    if ROOT in stash:
        from outlive_harness.pytest_support.driver import call_off  # noqa: PLC0415 - see the module

        call_off(stash[ROOT])
    if DRIVER in stash:
        try:
            if exitstatus not in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR):
                stash[DRIVER].finish()
        finally:
            stash[DRIVER].close()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End what was started, however the session ended."""
    from outlive_harness.pytest_support.stash import DRIVER, ROOT  # noqa: PLC0415 - a few lines

    if DRIVER in config.stash:
        config.stash[DRIVER].close()
    if ROOT in config.stash:
        config.stash[ROOT].close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of scenarios, from properties of the reports."""
    texts = {
        report.nodeid: text
        for several in terminalreporter.stats.values()
        for report in several
        for key, text in getattr(report, "user_properties", ())
        if key == "outlive"
    }
    if texts:
        from outlive_harness.pytest_support.summary import print_summary  # noqa: PLC0415 - see the module

        print_summary(terminalreporter, texts)


@pytest.fixture(scope="session")
def outlive(request: pytest.FixtureRequest) -> Any:  # noqa: ANN401 - its type would have to be imported
    """Drive the harness from a test: run, check and trial; see outlive_harness.pytest_support.fixture."""
    from outlive_harness.pytest_support.driver import driver  # noqa: PLC0415 - see the module
    from outlive_harness.pytest_support.fixture import Outlive  # noqa: PLC0415 - see the module

    return Outlive(driver(request.config))
