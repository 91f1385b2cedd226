"""Facts about the runs that end in a crash state."""

from __future__ import annotations

from dataclasses import dataclass, field

from outlive_harness.disk.power import State
from outlive_harness.disk.tree import Tree
from outlive_harness.results.findings import Finding
from outlive_harness.results.ops import Op


@dataclass(slots=True)
class Touched:
    """The paths that a run made: opened for writing, or installed whole."""

    written: set[str] = field(default_factory=set)
    installed: set[str] = field(default_factory=set)

    def note(self, op: Op) -> None:
        """Note an op that is about to run."""
        if op.traits.installs:
            self.installed.add(op.target)
        elif op.traits.makes:
            self.written.add(op.path)

    def made(self, path: str) -> bool:
        """Return whether the run made a path, alone or with a directory above it."""
        return path in self.written or self.has_installed(path)

    def has_installed(self, path: str) -> bool:
        """Return whether a path was renamed or linked into place, alone or with a directory above it."""
        return any(path == one or path.startswith(one + "/") for one in self.installed)


@dataclass(slots=True)
class Crash:
    """Facts about the runs that end in a crash state.

    Attributes:
        op: the op of the last run at which the fault was injected.
        touched: the paths that the runs made.
        found: the files that the last run began with, if it was itself a recovery.
        versions: whole contents that the last run made, by output path, if they may differ from the golden
            run's.
        acks: what the runs acknowledged.
        partial: findings of partial content that was visible while a run went on after the fault, by path.
        state: the state of the model of the disk, if the crash state comes from that.
        went_on: whether the last run went on after the fault.
        unseen: why it is unknown what was visible then; "" if it is known.
        rests_on: the rare condition that the crash state needs: see Fault.rests_on().
    """

    op: Op | None = None
    touched: Touched = field(default_factory=Touched)
    found: Tree | None = None
    versions: dict[str, set[str]] | None = None
    acks: list[str] = field(default_factory=list)
    partial: dict[str, Finding] = field(default_factory=dict)
    state: State | None = None
    went_on: bool = False
    unseen: str = ""
    rests_on: str = ""
