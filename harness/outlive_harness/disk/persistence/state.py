"""One crash state: the files that a power cut leaves."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from outlive_harness.disk import content
from outlive_harness.disk.model.files import (
    ATTRIBUTE,
    BLOCK_OF,
    ENTRY,
    SIZE,
    Node,
    tree_of,
    walk,
    write_nodes,
)
from outlive_harness.disk.tree import Tree

from .closure import Closure
from .lost import names_of
from .view import overlay_without


class State:
    """The files that a power cut leaves.

    Attributes:
        at: the op after which the power is cut.
        dropped: the lost micro-ops, as bits.
        returned: whether that op had returned; if not, what it makes durable may be lost too.
        digest: equal for states with equal files.
    """

    __slots__ = ("_model", "at", "digest", "dropped", "returned")

    def __init__(self, model: Closure, at: int, dropped: int, *, returned: bool) -> None:
        self._model = model
        self.at = at
        self.dropped = dropped
        self.returned = returned
        history, view = model.history, model.view
        view.move(history.end[at])
        overlay = overlay_without(history, history.end[at], dropped)
        self.digest = f"{view.digest_with(overlay) ^ view.links(history.linked, overlay):032x}"

    @property
    def lost(self) -> tuple[str, ...]:
        """What did not persist, as replay ids name it; empty if all did."""
        return names_of(self._model, self.at, self.dropped, returned=self.returned)

    def __str__(self) -> str:
        return f"{self.at}-{','.join(self.lost)}" if self.lost else str(self.at)

    @property
    def initial(self) -> Path | None:
        """The directory that the first run began with; None if it is not known."""
        return self._model.run.initial

    def tree(self, box: bytes = b"") -> Tree:
        """Return the files as tree.scan() would read them.

        Args:
            box: the path to replace in contents and link targets before they are digested.
        """
        digests = self._model.run.digests

        def digest(_number: int, node: Node) -> str:
            key = node.size, tuple(sorted((index, id(block)) for index, block in node.blocks.items())), box
            if key not in digests:
                digests[key] = content.digest(node.blocks, node.size, box)
            return digests[key]

        return tree_of(self._nodes().__getitem__, box, digest)

    def read(self, path: str) -> bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: there is no such file.
        """
        nodes = self._nodes()
        number = walk(nodes.__getitem__, path)
        node = None if number is None else nodes[number]
        if node is None or node.kind != "file":
            raise FileNotFoundError(path)
        return content.read(node.blocks, node.size)

    def write_to(self, directory: Path, copies: Mapping[str, str] | None = None) -> list[str]:
        """Make the files real below an existing, empty directory, with modes and links.

        Args:
            directory: the directory.
            copies: copies of files of the initial directory, by relative path, that may be moved in.

        Returns:
            Relative paths of the files over 64 KiB with the content and attributes that they have in the
            initial directory.

        Raises:
            OSError: a file cannot be made.
        """
        nodes = dict(self._nodes())
        for number, node in nodes.items():
            op = self._last_write(number)
            if op:
                # When it was written was not recorded, only in which order.
                stamp = time.time_ns() - (len(self._model.history.ops) - op + 1) * 1000
                nodes[number] = replace(node, attributes={**node.attributes, "times": (stamp, stamp)})
        return write_nodes(nodes.__getitem__, directory, initial=self.initial, copies=copies)

    def _nodes(self) -> Mapping[int, Node]:
        """Return the files by number; the view is moved to the state's op."""
        run = self._model.run
        end = run.history.end[self.at]
        run.view.move(end)
        which = self.at, self.dropped
        if run.latest is None or run.latest[0] != which:
            overlay = overlay_without(run.history, end, self.dropped)
            changed = {number: run.view.node_with(number, overlay) for number in overlay}
            run.latest = which, run.view.nodes | changed
        return run.latest[1]

    def _last_write(self, number: int) -> int:
        """Return the op that last changed a file's content; 0 if none did, or its times were set since."""
        history = self._model.history
        for micro in reversed(history.own[number]):
            if micro < history.end[self.at] and not self.dropped >> micro & 1:
                for change in history.micros[micro].changes:
                    if change.aspect == ATTRIBUTE and change.where == "times":
                        return 0
                    if change.aspect in (SIZE, BLOCK_OF, ENTRY):
                        return history.micros[micro].op
        return 0
