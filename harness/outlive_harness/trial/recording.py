"""One recording: the ops of one or more runs, with their data, and what is to be told of them."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from outlive_harness.disk.power import PowerModel, State
from outlive_harness.disk.tree import Tree
from outlive_harness.results.ops import Op
from outlive_harness.world.runner import Runner


@dataclass(slots=True)
class Recording:
    """The ops of one or more runs, with their data.

    Attributes:
        box: the path of the box.
        initial: a directory with the files before the first run.
        ops: the ops of all runs.
        starts: the index of each run's first op.
        acks: what all runs of the plan acknowledged.
        said: how many acknowledgements came before each op of the last run, and in all.
        found: the files that the last run began with, if it was itself a recovery.
        versions: whole contents that the last run made, by output path.
        unexplained: outputs of the first run that its ops do not account for.
        reason: why no crash state can be made from it; "" if it can be used.
    """

    box: bytes
    initial: Path
    ops: list[Op] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    acks: list[str] = field(default_factory=list)
    said: list[int] = field(default_factory=list)
    found: Tree | None = None
    versions: dict[str, set[str]] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)
    reason: str = ""

    @property
    def last(self) -> int:
        """The number of ops of the runs before the last."""
        return self.starts[-1]

    def promised(self, state: State) -> list[str]:
        """Return what was acknowledged before a power cut of the last run."""
        return self.acks[: self.said[state.at - self.last - (not state.returned)]]

    def until(self, state: State) -> int:
        """Return the last op up to which nothing more was acknowledged than before a power cut."""
        return max(state.at, bisect_right(self.said, len(self.promised(state))) - 1 + self.last)

    def name(self, lost: str) -> str:
        """Describe a lost op, or the op of which a part is lost."""
        return f"{lost} {self.ops[self._index(lost)].describe()}"

    def _index(self, lost: str) -> int:
        """Return the index of a lost op, or of the op of which a part is lost."""
        run, slash, number = lost.rpartition("/")
        start = self.starts[int(run) - 1] if slash else self.last
        return start + int(number.partition(".")[0]) - 1

    def kept(self, lost: Sequence[str], at: int) -> list[str]:
        """Describe those of the first *at* ops that reached the disk although an earlier op was lost.

        No process could see such a state while the machine ran.
        """
        whole = {self._index(name) for name in lost if "." not in name}
        torn = {self._index(name) for name in lost} - whole
        found: list[str] = []
        moved: set[str] = set()  # a kept rename or link stands for the earlier ops on its file
        for index in range(at - 1, min(whole | torn, default=at) - 1, -1):
            op = self.ops[index]
            if index in torn:
                found.append(f"a part of {self._number(index)} {op.describe()}")
            elif index not in whole and op.changes and op.path not in moved:
                found.append(f"{self._number(index)} {op.describe()}")
                moved |= {op.path} if op.traits.installs else set()
        return found[::-1]

    def _number(self, index: int) -> str:
        """Return the number of an op as replay ids write it."""
        run = bisect_right(self.starts, index)
        number = index - self.starts[run - 1] + 1
        return str(number) if run == len(self.starts) else f"{run}/{number}"


class Recorded(NamedTuple):
    """A recording, and the model of what a power cut may leave; None if the recording cannot be used."""

    recording: Recording
    model: PowerModel | None


def with_own_box(runner: Runner, acks: Sequence[str]) -> list[str]:
    """Return acknowledgements in which the path of another worker's box is this runner's."""
    return [os.fsdecode(runner.box.own(os.fsencode(ack))) for ack in acks]
