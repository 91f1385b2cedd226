"""The disk in memory: ops are carried out on it, and each returns the steps of its effect.

Each op has the outcome that the kernel gives it, as far as the files decide it. Rights, quotas and full disks
are not modelled: an op that saw another file than the ops before it predict raises UnmodelledError.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from outlive_harness.disk.tree import Tree
from outlive_harness.results.ops import Op

from . import attributes, contents, names
from .files import Step, tree_of
from .inodes import Cut, Inodes

#: The effect of each kind of op; a kind without one changes nothing.
EFFECTS: dict[str, Callable[[Inodes, Op], None]] = {
    **names.EFFECTS,
    **contents.EFFECTS,
    **attributes.EFFECTS,
}


class Disk(Inodes):
    """Files that ops change; the arguments are those of Inodes."""

    @classmethod
    def load(cls, root: Path, *, umask: int = 0o022, cut: Cut | None = None) -> Disk:
        """Start from the files below a directory, which must not change.

        Raises:
            OSError: a file cannot be read.
        """
        disk = cls(umask=umask, cut=cut)
        disk.files.load(root)
        return disk

    def apply(self, op: Op) -> list[Step]:
        """Carry out an op and return its steps; an op that must have failed has none.

        Raises:
            UnmodelledError: its effect is not known.
        """
        effect = EFFECTS.get(op.kind)
        if effect is None or (op.detail is not None and op.detail.fails):
            return []
        self._steps = []
        effect(self, op)
        for step in self._steps:
            for change in step.changes:
                self.node(change.node).touched = op.tid
        return self._steps

    def find(self, op: Op) -> int | None:
        """Return the number of the file that an op acts on, by its descriptor or its path."""
        return self.look_up(op)[0]

    def settle(self, number: int | None) -> None:
        """Note that a file's size is durable; with None, the sizes of all files."""
        for node in self.files.nodes.values() if number is None else [self.node(number)]:
            contents.settle(node)

    def tree(self, box: bytes = b"") -> Tree:
        """Return the files as tree.scan() would read them.

        Args:
            box: the path to replace in contents and link targets before they are digested.
        """
        return tree_of(self.node, box)
