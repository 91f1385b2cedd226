"""One run before it starts: the program, what is done with the run, and who runs it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from outlive_harness.intercept.lookup import Keeper
from outlive_harness.intercept.made import Made
from outlive_harness.intercept.supervisor import Answer
from outlive_harness.results.ops import Op

from .zygote import Zygote

Visit = Callable[[Op, int], Answer]


@dataclass(frozen=True, slots=True)
class Program:
    """What is run.

    Attributes:
        argv: the program and its arguments.
        cwd: where it runs.
        env: its whole environment.
        box: the directory whose ops are counted.
        acks: pattern of the lines of standard output that acknowledge something; "" for none.
        guarded: files outside the box that it must not change.
        tmp: a directory of the box that is another file system to it: see Lookup; "" for none.
        zygote: forks the program, where it is not to be executed.
    """

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    box: Path
    acks: str = ""
    guarded: Collection[str] = ()
    tmp: str = ""
    zygote: Zygote | None = None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What is done with one run.

    Attributes:
        timeout: seconds until it is killed as hung.
        visit: sees each op before it runs, and says what becomes of it; without it the run is not
            intercepted.
        data: whether ops carry the bytes written, and all else that the model of the disk needs; or where the
            bytes are to be kept, if not in the ops themselves.
        places: whether writes carry where in the file they go.
        reads: whether to note what it reads and executes, and whom it talks to.
        looks: whether to note what it only asks for as well: is it there?
        tear: where the run is crashed in front of a write, write so many bytes of it first.
        syncs: whether calls are run that only make data durable; else they are answered with success.
        grace: seconds that the run has left once a signal was sent to it.
        kill_after: seconds of wall time after which a run that is not intercepted is crashed.
        promises: whether to count the acknowledgements before each op.
        stacks: a file in which each Python of the run leaves the lines that it is at; "" for none.
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


@dataclass(frozen=True, slots=True)
class Host:
    """The process that runs it.

    Attributes:
        control: a descriptor whose hang-up abandons the run; None for none.
        spared: process ids of children of this process that are no part of the run.
        left: takes the temporary files that the run has made outside its box, and may not have removed: it
            did not come to its end, it failed, or processes of it were killed after that.
    """

    control: int | None = None
    spared: Collection[int] = ()
    left: Made = field(default_factory=Made)
