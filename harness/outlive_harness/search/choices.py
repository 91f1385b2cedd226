"""The choices that options and a scenario make together: the faults, their settings, and the profile."""

from __future__ import annotations

import signal

from outlive_harness.disk.profiles import PROFILES
from outlive_harness.faults import Fault, Settings
from outlive_harness.faults.table import FAULTS, NAMES, STAND_IN
from outlive_harness.golden.record import Record
from outlive_harness.results.keywords import CUTS
from outlive_harness.results.options import DEFAULT_FAULTS, DEFAULT_PROFILE, Options
from outlive_harness.results.scenario import Scenario, ScenarioError


def profile_of(options: Options, scenario: Scenario) -> str:
    """Return the name of a scenario's disk profile.

    Raises:
        ScenarioError: there is no profile of that name.
    """
    name = options.profile or scenario.profile or DEFAULT_PROFILE
    if name not in PROFILES:
        raise ScenarioError(f"unknown profile {name!r}; there are: {', '.join(PROFILES)}")
    return name


def settings_of(options: Options, scenario: Scenario) -> Settings:
    """Return the settings of a scenario's faults: the signal, and where writes are cut."""
    return Settings(options.signal, options.torn or scenario.torn or CUTS[0])


def faults_of(options: Options, scenario: Scenario) -> tuple[str, ...]:
    """Return the faults that a scenario is tested with: those asked for, as far as it allows them.

    Raises:
        ScenarioError: there is no fault of such a name.
    """
    for name in (*(options.faults or ()), *(scenario.faults or ())):
        if name not in FAULTS:
            raise ScenarioError(f"unknown fault {name!r}; there are: {', '.join(NAMES)}")
    real = (options.real_fs,) if options.real_fs else ()
    if options.faults is None:
        return (*(scenario.faults or DEFAULT_FAULTS), *real)
    named = (name for name in options.faults if not scenario.faults or name in scenario.faults)
    return tuple(dict.fromkeys((*named, *real)))


def left_out(options: Options, scenario: Scenario) -> str:
    """Return what a scenario asks for and the options leave out; "" if nothing is left out.

    If a known-bad scenario names no fault, the default faults must show its violations.
    """
    declared = scenario.faults or (DEFAULT_FAULTS if scenario.expect else ())
    given = faults_of(options, scenario)
    parts = [name for name in declared if name not in given]
    profile = scenario.profile or DEFAULT_PROFILE
    if any(FAULTS[name].cuts_power == "model" for name in given) and profile_of(options, scenario) != profile:
        parts.append(f"a disk as {profile}")
    if any(FAULTS[name].part == "signal" for name in given) and options.signal != signal.SIGTERM:
        parts.append("SIGTERM")
    return ", ".join(parts)


def none_asked_for(options: Options, scenario: Scenario) -> str:
    """Return why a scenario is skipped, as none of its faults was asked for; "" if one was."""
    if faults_of(options, scenario):
        return ""
    its, asked = ", ".join(scenario.faults or ()), ", ".join(options.faults or ())
    return f"none of its faults ({its}) was asked for ({asked})"


def usable(name: str, record: Record) -> tuple[Fault, list[str]]:
    """Return the fault to use for *name* on this machine, and notes on what its coverage leaves out."""
    fault = FAULTS[name]
    if fault.intercepts and record.refused:
        return STAND_IN, [f"{STAND_IN.name} instead of {name}: {record.refused}"]
    return fault, [fault.leaves_out] if fault.leaves_out else []
