"""The options of a pytest run: those of its command line, else those of [tool.outlive] in pyproject.toml."""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from outlive_harness.config.read import Config, read
from outlive_harness.disk.realfs import missing
from outlive_harness.results.keywords import with_option
from outlive_harness.results.options import MEMORY, STORE, Options
from outlive_harness.results.scenario import Scenario, ScenarioError

from .stash import CONFIG


def configuration(config: pytest.Config) -> Config:
    """Return what pyproject.toml says for the directory in which pytest was started.

    Raises:
        ScenarioError: it is wrong; the message says where.
    """
    if CONFIG not in config.stash:
        config.stash[CONFIG] = read(config.invocation_params.dir)
    return config.stash[CONFIG]


def given(config: pytest.Config) -> dict[str, Any]:
    """Return the values of keywords that pytest's command line gives."""
    several = {one.name: config.getoption(f"outlive_{one.name}") for one in with_option("pytest")}
    return {name: value for name, value in several.items() if value is not None}


def setting(config: pytest.Config, name: str, default: Any = None) -> Any:  # noqa: ANN401 - each has its own type
    """Return the value of an option that is no keyword."""
    value = config.getoption(f"outlive_{name}", default=None)
    return configuration(config).settings.get(name, default) if value is None else value


def filled(
    config: pytest.Config, scenario: Scenario, *, door: str = "test", asked: Collection[str] = ()
) -> Scenario:
    """Return a scenario with what pyproject.toml says, as ``outlive test`` and ``outlive check`` have it.

    Args:
        config: pytest's own.
        scenario: the scenario, which stays as it is.
        door: the command.
        asked: keywords of which a test itself says what is wanted.
    """
    made = copy(scenario)
    configuration(config).fill(made, door=door, given={*given(config), *asked})
    return made


def options_of(config: pytest.Config) -> Options:
    """Return the options of all scenarios but for the faults, which are each item's own, and the budget.

    Raises:
        ScenarioError: this machine has no such real file system.
    """
    asked = {name: value for name, value in given(config).items() if name != "faults"}
    mine = {one.name for one in fields(Options)} - {"budget", "store"}
    said = {name: value for name, value in configuration(config).settings.items() if name in mine}
    for name in ("points", "select", "seed"):
        if (value := config.getoption(f"outlive_{name}")) is not None:
            said[name] = value
    if config.getoption("outlive_no_zygote"):
        said["zygote"] = False
    if "memory" in said:
        said["memory"] <<= 20
    real = said.get("real_fs", "")
    if real and (why := missing(real)):
        raise ScenarioError(f"real_fs={real!r} cannot be used here: {why}")
    return Options(**{"memory": MEMORY} | said | asked, store=_store(config), regressions=True)


def _store(config: pytest.Config) -> Path:
    return config.rootpath / STORE
