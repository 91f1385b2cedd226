"""The options of a run: what a user can choose for all scenarios."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

#: Where a project keeps its failures and results, relative to its directory.
STORE = Path(".outlive")
DEFAULT_FAULTS = ("kill",)
DEFAULT_PROFILE = "posix"
#: Bytes of recorded data that are kept in memory; more than that goes to a file.
MEMORY = 64 << 20


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run.

    Attributes:
        faults: the faults to inject; by default each scenario's own, else ``kill``.
        depth: crashes in a row.
        points: how many crash points of each fault to sample; None for all.
        budget: seconds after which no further trial begins; if time is left, it is used for deeper plans.
            None for no limit.
        seed: decides every sample.
        store: the directory where failures are kept.
        profile: what the disk promises when the power is cut; by default each scenario's own, else ``posix``.
        memory: bytes of a recording's data that are kept in memory.
        signal: number of the signal that ``term`` sends.
        select: which crash points are tried: ``all``; ``distinct``, one of each group of similar points;
            ``auto``, all unless there are very many.
        exhaustive: whether a known-bad scenario is explored to its end, even if it has shown all that it is
            expected to.
        fail_fast: whether a scenario that should hold is left at its first violation.
        real_fs: a real file system to cut the power on as well; "" for none.
        explain: which violations are traced to their lines, with repairs tried: ``auto``, those that are not
            expected, but none with fail_fast; ``all``; or ``none``.
        exhibit: whether results hold each crash point, for a time line.
        torn: where ``torn`` cuts a write: ``pages`` or ``bytes``; by default as each scenario says, else
            ``pages``.
        regressions: whether failures are kept beside the scenario's file, and tried first from then on.
        zygote: whether trials of Python programs may be forked from a warm interpreter.
    """

    faults: tuple[str, ...] | None = None
    depth: int = 1
    points: int | None = None
    budget: float | None = None
    seed: int = 0
    store: Path = STORE
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
    regressions: bool = False
    torn: str | None = None
