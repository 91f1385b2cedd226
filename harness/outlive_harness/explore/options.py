"""What the doors let a user choose."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from outlive_harness.disk.profiles import PROFILES
from outlive_harness.faults import every, table
from outlive_harness.scenario import CUTS, Scenario, ScenarioError

from .baseline import Baseline
from .tapes import MEMORY

DEFAULT_FAULTS = ("kill",)
DEFAULT_PROFILE = "posix"


@dataclass(frozen=True, slots=True)
class Options:
    """What the doors let a user choose.

    Attributes:
        faults: the faults to strike with; None leaves it to each scenario, else ``kill``.
        depth: crashes in a row.
        points: how many crash points of each fault to sample; None for all.
        budget: seconds after which no further trial is begun, and which are used, where all was tried
            before, for deeper plans; None for no limit.
        seed: decides every sample.
        store: where failures are kept.
        profile: what the disk promises where the power is cut; None leaves it to each scenario, else
            ``posix``.
        memory: bytes of a recorded run's data that are kept in memory.
        signal: number of the signal that ``term`` sends.
        select: which crash points are carried out: ``all``, ``distinct``, those that stand for all that
            are like them, or ``auto``, all unless there are very many.
        exhaustive: whether a known-bad scenario is explored to the end, though all that it is expected
            to show was found.
        fail_fast: whether a scenario that should hold is left as soon as it is seen that it does not.
        real_fs: a real file system to cut the power on as well.
        explain: which violations are traced to their lines, and repairs of them tried: ``auto``, those that
            nobody expected, unless the first one ends it all; ``all`` or ``none``.
        exhibit: whether results are to hold each crash point, for a time line.
        baseline: violations that are known today.
        torn: where ``torn`` cuts a write: ``pages`` or ``bytes``; None leaves it to each scenario, else
            ``pages``.
        corpus: whether failures are kept beside the scenario's file, to be struck first from then on.
        zygote: whether trials of Python programs may be forked from a warm interpreter.
    """

    faults: tuple[str, ...] | None = None
    depth: int = 1
    points: int | None = None
    budget: float | None = None
    seed: int = 0
    store: Path = Path(".outlive")
    profile: str | None = None
    memory: int = MEMORY
    signal: int = signal.SIGTERM
    zygote: bool = True
    select: str = "auto"
    real_fs: str = ""
    exhaustive: bool = False
    fail_fast: bool = False
    explain: str = "auto"
    exhibit: bool = False
    baseline: Baseline | None = None
    corpus: bool = False
    torn: str | None = None

    def profile_of(self, scenario: Scenario) -> str:
        """Return what a scenario's disk promises.

        Raises:
            ScenarioError: there is no profile of such a name.
        """
        name = self.profile or scenario.profile or DEFAULT_PROFILE
        if name not in PROFILES:
            raise ScenarioError(f"unknown profile {name!r}; there are: {', '.join(PROFILES)}")
        return name

    def cuts_of(self, scenario: Scenario) -> str:
        """Return where ``torn`` cuts a scenario's writes: ``pages`` or ``bytes``."""
        return self.torn or scenario.torn or CUTS[0]

    def faults_of(self, scenario: Scenario) -> tuple[str, ...]:
        """Return the faults that a scenario is put through: those asked for that make sense for it.

        Raises:
            ScenarioError: there is no fault of such a name.
        """
        known = every()
        for name in (*(self.faults or ()), *(scenario.faults or ())):
            if name not in known:
                raise ScenarioError(f"unknown fault {name!r}; there are: {', '.join(table())}")
        real = (self.real_fs,) if self.real_fs else ()
        if self.faults is None:
            return (*(scenario.faults or DEFAULT_FAULTS), *real)
        named = (name for name in self.faults if not scenario.faults or name in scenario.faults)
        return tuple(dict.fromkeys((*named, *real)))

    def left_out(self, scenario: Scenario) -> str:
        """Say what a scenario asks for and does not get, as other options were given; "" if it gets all.

        A known-bad one that names no fault is shown by the faults that are the default.
        """
        declared = scenario.faults or (DEFAULT_FAULTS if scenario.expect else ())
        given = self.faults_of(scenario)
        parts = [name for name in declared if name not in given]
        profile = scenario.profile or DEFAULT_PROFILE
        if "power" in given and self.profile_of(scenario) != profile:
            parts.append(f"a disk as {profile}")
        if "term" in given and self.signal != signal.SIGTERM:
            parts.append("SIGTERM")
        return ", ".join(parts)
