"""The pytest door: scenario files are collected, each scenario and fault an item of its own.

pytest imports this module in every run of every project that has it installed, so it imports almost
nothing: what the hooks need is imported when there are scenarios.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from outlive_harness.scenario import CUTS, is_scenario_file


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options and the ini value that says where scenarios are."""
    group = parser.getgroup("outlive", "crash scenarios")
    group.addoption("--outlive-seed", type=int, default=0, metavar="N", help="decides every sample")
    group.addoption(
        "--outlive-faults",
        type=_faults,
        metavar="LIST",
        help="faults to strike with, separated by commas; by default each scenario's own, else kill",
    )
    group.addoption(
        "--outlive-budget",
        type=_seconds,
        metavar="SECONDS",
        help="time for all scenarios together: what is cut off is unknown, and fails; what is left is used "
        "for deeper plans",
    )
    group.addoption(
        "--outlive-baseline",
        type=Path,
        metavar="FILE",
        help="violations that are known today, as outlive test --update-baseline writes them",
    )
    group.addoption(
        "--outlive-profile",
        type=_profile,
        metavar="NAME",
        help="what the disk promises where the power is cut; by default each scenario's own, else posix",
    )
    group.addoption(
        "--outlive-torn",
        choices=CUTS,
        help="where torn cuts a write: at pages of its file, as SIGKILL does, or at any byte; "
        "by default each scenario's own, else pages",
    )
    group.addoption(
        "--outlive-no-zygote", action="store_true", help="exec each trial, also where a fork would do"
    )
    group.addoption("--outlive-depth", type=_whole, default=1, metavar="N", help="crashes in a row")
    group.addoption(
        "--outlive-points", type=_whole, metavar="N", help="sample so many crash points of each fault"
    )
    group.addoption(
        "--outlive-select",
        choices=("auto", "all", "distinct"),
        default="auto",
        help="crash points: all; distinct, which stand for those like them; auto: all unless very many",
    )
    parser.addini("outlive_scenarios", "directories of scenario files", type="args", default=["scenarios"])


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1 on")
    return int(text)


def _seconds(text: str) -> float:
    # As the command line's --budget, whose module is not for every run of pytest; and 0 is a budget here.
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(s|m)?", text, re.ASCII)
    seconds = float(match[1]) * (60 if match[2] == "m" else 1) if match else -1.0
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be a number of seconds, 0 or more, as 60 or 60s or 2m"
        )
    return seconds


def _faults(text: str) -> tuple[str, ...]:
    from outlive_harness.faults import table  # noqa: PLC0415 - only where faults are named

    known = table()
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"unknown fault {name!r}; there are: {', '.join(known)}")
    if not names:
        raise argparse.ArgumentTypeError(f"{text!r} names no fault; there are: {', '.join(known)}")
    return names


def _profile(text: str) -> str:
    from outlive_harness.disk.profiles import PROFILES  # noqa: PLC0415 - only where one is named

    if text not in PROFILES:
        raise argparse.ArgumentTypeError(f"unknown profile {text!r}; there are: {', '.join(PROFILES)}")
    return text


# -- collection ------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Generator[None, list[Any], list[Any]]:
    """Collect a scenario file as what it is, and as nothing else."""
    collectors = yield
    if not is_scenario_file(file_path) or not _is_below(file_path, parent.config):
        return collectors
    from outlive_harness.pytest_support.collect import ScenarioFile  # noqa: PLC0415 - see the module

    return [ScenarioFile.from_parent(parent, path=file_path)]


def _directories(config: pytest.Config) -> list[Path]:
    return [config.rootpath / name for name in config.getini("outlive_scenarios")]


def _is_below(path: Path, config: pytest.Config) -> bool:
    return any(path.is_relative_to(directory) for directory in _directories(config))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """In an xdist worker with scenarios: be there for the others' work before any is handed out."""
    from outlive_harness.pytest_support.stash import FILES  # noqa: PLC0415 - a few lines

    if FILES in session.config.stash and hasattr(session.config, "workerinput"):
        from outlive_harness.pytest_support.driver import driver  # noqa: PLC0415 - see the module

        driver(session.config).join()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Run what was collected, even where a scenario file was not: its error fails the run anyway."""
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
def pytest_configure_node(node: Any) -> None:  # noqa: ANN401 - xdist's, which may not be installed
    """In xdist's controller: tell each worker process where they all share their work."""
    if any(directory.is_dir() for directory in _directories(node.config)):
        from outlive_harness.pytest_support.driver import shared_root  # noqa: PLC0415 - see the module

        node.workerinput["outlive_root"] = str(shared_root(node.config))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Help the others until all are done, then end what was started."""
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
    """Print the table of scenarios, from what travelled with the reports."""
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
