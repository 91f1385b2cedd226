"""One run before it starts: the program, the options of the run, and the process that hosts it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from outlive_harness.intercept.file_times import FileTimes
from outlive_harness.intercept.lookup import Keeper
from outlive_harness.intercept.made import Made
from outlive_harness.intercept.supervisor import Answer
from outlive_harness.intercept.tail import KEEP
from outlive_harness.results.ops import Op

from .zygote import Zygote

Visit = Callable[[Op, int], Answer]


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run.

    Attributes:
        argv: the program and its arguments.
        cwd: where it runs.
        env: its whole environment.
        box: the directory whose ops are counted.
        acks: pattern of the lines of standard output that acknowledge something; "" for none.
        guarded: files outside the box that it must not change.
        tmp: a directory of the box that it sees as another file system: see Lookup; "" for none.
        instant: where its wall clock stands, in nanoseconds since 1970; None if it runs.
        file_times: the times that files show while its wall clock stands still; None for their own.
        zygote: forks the program; None to execute it.
    """

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    box: Path
    acks: str = ""
    guarded: Collection[str] = ()
    tmp: str = ""
    instant: int | None = None
    file_times: FileTimes | None = None
    zygote: Zygote | None = None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of one run.

    Attributes:
        timeout: seconds until it is killed as hung.
        visit: called with each op before it runs, returns the answer; without it the run is not intercepted.
        data: whether ops carry the bytes that they write, and all else that the model of the disk needs; a
            Keeper keeps the bytes outside the ops.
        places: whether writes carry their offset in the file.
        reads: whether to note the files that it reads and executes, and the addresses that it talks to.
        looks: whether to note also the paths of which it only asks whether they exist.
        tear: the bytes to write of the write before which the run is crashed; None for none.
        syncs: whether to run calls that only make data durable; else they succeed without running.
        grace: seconds that the run has left after a signal was sent to it.
        kill_after: seconds of wall time after which a run that is not intercepted is crashed.
        promises: whether to count the acknowledgements before each op.
        stacks: a file in which each Python interpreter of the run records its stacks; "" for none.
        keep: how many bytes of its standard output are kept, at the end.
    """

    timeout: float
    visit: Visit | None = None
    data: Keeper | bool = False
    places: bool = True
    reads: bool = False
    looks: bool = False
    tear: int | None = None
    syncs: bool = True
    grace: float = 5.0
    kill_after: float | None = None
    promises: bool = False
    stacks: str = ""
    keep: int = KEEP


@dataclass(frozen=True, slots=True)
class Host:
    """The process that runs a program.

    Attributes:
        control: a descriptor whose hang-up abandons the run; None for none.
        spared: process ids of children of this process that are not part of the run.
        left: receives the temporary files that the run made outside its box and may not have removed, because
            it was killed or failed, or processes of it were killed at its end.
    """

    control: int | None = None
    spared: Collection[int] = ()
    left: Made = field(default_factory=Made)
