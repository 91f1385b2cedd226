"""What the doors let a user choose."""

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
    corpus: bool = False
    torn: str | None = None
