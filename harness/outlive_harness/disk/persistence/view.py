"""The files of a recording at any moment, and a digest of them that follows each change."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from outlive_harness.disk import content
from outlive_harness.disk.content import BLOCK, Block
from outlive_harness.disk.model.files import (
    ATTRIBUTE,
    BLOCK_OF,
    ENTRY,
    ROOT,
    SIZE,
    XATTR,
    Node,
    put,
    walk_nodes,
)

from .micro import History, Key, is_below

_BITS = (1 << 128) - 1

#: Values that differ from those at a moment: by file, then by (aspect, where).
Overlay = Mapping[int, Mapping[tuple[str, str | int], Any]]


def _number(*values: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(values).encode(), digest_size=16).digest(), "little")


class View:
    """The files of a history at a moment that can be moved.

    Digests are sums over blocks and names, so an update costs as much as what changed.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self.nodes = history.files.nodes
        self.at = len(history.micros)
        #: (directory, name) by file
        self._parents: dict[int, dict[tuple[int, str], None]] = defaultdict(dict)
        self._names: dict[int, dict[str, int]] = defaultdict(dict)
        self._name_sums: dict[int, int] = defaultdict(int)
        self._block_sums: dict[int, int] = {}
        self._stale: dict[int, set[str]] = {}
        self._digests: dict[int, int] = {}
        for number, node in self.nodes.items():
            self._stale[number] = set(node.entries)
            for name, below in node.entries.items():
                self._parents[below][number, name] = None

    def move(self, at: int) -> None:
        """Do or undo micro-ops until exactly the first *at* of them are done."""
        micros = self._history.micros
        while self.at < at:
            for change in micros[self.at].changes:
                self._change(change.aspect, change.node, change.where, change.before, change.after)
            self.at += 1
        while self.at > at:
            self.at -= 1
            for change in reversed(micros[self.at].changes):
                self._change(change.aspect, change.node, change.where, change.after, change.before)

    def _change(self, aspect: str, number: int, where: Any, before: Any, after: Any) -> None:  # noqa: ANN401
        node = self.nodes[number]
        put(node, aspect, where, after)
        if aspect == ENTRY:
            self._stale[number].add(where)
            if before is not None:
                self._parents[before].pop((number, where), None)
            if after is not None:
                self._parents[after][number, where] = None
        elif aspect == BLOCK_OF and number in self._block_sums:
            self._block_sums[number] += _mark(where, after) - _mark(where, before)
        self._forget(number)

    def _forget(self, number: int) -> None:
        waiting = [number]
        while waiting:
            one = waiting.pop()
            if self._digests.pop(one, None) is not None:
                for directory, name in self._parents[one]:
                    self._stale[directory].add(name)
                    waiting.append(directory)

    # -- digests -------------------------------------------------------------------------------------

    def digest(self, number: int = ROOT) -> int:
        """Return a digest of 128 bits of a file and all below it, as they are now."""
        known = self._digests.get(number)
        if known is None:
            node = self.nodes[number]
            if node.kind == "dir":
                self._refresh(number, node)
            known = self._digests[number] = self._combine(
                node, node.size, self._blocks(number, node), self._name_sums[number], node.attributes
            )
        return known

    def _refresh(self, number: int, node: Node) -> None:
        names, total = self._names[number], self._name_sums[number]
        for name in self._stale[number]:
            total -= names.pop(name, 0)
            below = node.entries.get(name)
            if below is not None:
                names[name] = _number(name, self.digest(below))
                total += names[name]
        self._stale[number].clear()
        self._name_sums[number] = total

    def _blocks(self, number: int, node: Node) -> int:
        if node.kind != "file":
            return 0
        if number not in self._block_sums:
            self._block_sums[number] = sum(_mark(index, block) for index, block in node.blocks.items())
        return self._block_sums[number]

    @staticmethod
    def _combine(node: Node, size: int, blocks: int, names: int, attributes: Mapping[str | int, Any]) -> int:
        shown = sorted(
            (str(name), value)
            for name, value in attributes.items()
            if (name == "mode" and node.kind != "link") or str(name).startswith(XATTR)
        )
        return _number(node.kind, node.target, size, blocks & _BITS, names & _BITS, shown)

    def digest_with(self, overlay: Overlay) -> int:
        """Return the digest of the top directory with some values replaced."""
        touched: dict[int, set[str]] = {number: set() for number in overlay}
        for number, values in overlay.items():
            touched[number] |= {str(where) for aspect, where in values if aspect == ENTRY}
        waiting = list(overlay)
        while waiting:
            for directory, name in self._parents[waiting.pop()]:
                if directory not in touched:
                    touched[directory] = set()
                    waiting.append(directory)
                touched[directory].add(name)
        return self._digest_with(ROOT, overlay, touched, set())

    def _digest_with(
        self, number: int, overlay: Overlay, touched: Mapping[int, set[str]], above: set[int]
    ) -> int:
        if number not in touched:
            return self.digest(number)
        node, values = self.nodes[number], overlay.get(number, {})
        blocks = names = 0
        if node.kind == "dir":
            names = self._names_with(number, values, overlay, touched, above)
        elif node.kind == "file":
            blocks = self._blocks_with(number, node, values)
        attributes = node.attributes
        changed = {where: value for (aspect, where), value in values.items() if aspect == ATTRIBUTE}
        if changed:
            attributes = {
                name: value for name, value in {**attributes, **changed}.items() if value is not None
            }
        return self._combine(node, values.get((SIZE, 0), node.size), blocks, names, attributes)

    def _names_with(
        self,
        number: int,
        values: Mapping[tuple[str, str | int], Any],
        overlay: Overlay,
        touched: Mapping[int, set[str]],
        above: set[int],
    ) -> int:
        node = self.nodes[number]
        self.digest(number)
        names, total = self._names[number], self._name_sums[number]
        above.add(number)
        for name in touched[number]:
            total -= names.get(name, 0)
            below = values.get((ENTRY, name), node.entries.get(name))
            if below is not None and below not in above:  # a cycle is cut, as in walk_nodes()
                total += _number(name, self._digest_with(below, overlay, touched, above))
        above.discard(number)
        return total

    def _blocks_with(self, number: int, node: Node, values: Mapping[tuple[str, str | int], Any]) -> int:
        size = values.get((SIZE, 0), node.size)
        changed = {int(where): value for (aspect, where), value in values.items() if aspect == BLOCK_OF}
        total = self._blocks(number, node)
        for index, block in changed.items():
            total += _mark(index, block) - _mark(index, node.blocks.get(index))
        last = size // BLOCK
        for index in {*changed, *(node.blocks if size < node.size else ())}:
            if index >= last and (index + 1) * BLOCK > size:
                block = changed[index] if index in changed else node.blocks.get(index)
                total += _mark(index, block, size - index * BLOCK) - _mark(index, block)
        return total

    def links(self, numbers: Iterable[int], overlay: Overlay) -> int:
        """Return a digest of which names belong to one file; 0 if each file has one name at most."""
        counted = {number: len(self._parents[number]) for number in numbers}
        for directory, values in overlay.items() if counted else ():
            for (aspect, where), value in values.items():
                if aspect == ENTRY:
                    for one, more in ((self.nodes[directory].entries.get(str(where)), -1), (value, 1)):
                        if one in counted:
                            counted[one] += more
        shared = {number for number, count in counted.items() if count > 1}
        if not shared:
            return 0
        paths: dict[int, list[str]] = defaultdict(list)
        for path, number in walk_nodes(lambda number: self.node_with(number, overlay)):
            if number in shared:
                paths[number].append(path)
        groups = sorted(sorted(names) for names in paths.values() if len(names) > 1)
        return _number("links", groups) if groups else 0

    # -- files ---------------------------------------------------------------------------------------

    def node_with(self, number: int, overlay: Overlay) -> Node:
        """Return a file with some values replaced."""
        node, values = self.nodes[number], overlay.get(number)
        if values is None:
            return node
        changed = Node(
            node.kind,
            node.target,
            dict(node.entries),
            node.size,
            dict(node.blocks),
            dict(node.attributes),
        )
        for (aspect, where), value in values.items():
            put(changed, aspect, where, value)
        return changed


def _mark(index: int, block: Block | None, cut: int | None = None) -> int:
    """Return Block.mark() of the bytes before a cut."""
    if block is None or (cut is not None and cut <= 0):
        return 0
    if cut is None or cut >= block.length:
        return block.mark(index)
    return content.mark(index, block.read()[:cut])


def bits(mask: int) -> Iterator[int]:
    """Yield the positions of the bits that are set, in order."""
    text = bin(mask)[:1:-1]
    place = text.find("1")
    while place >= 0:
        yield place
        place = text.find("1", place + 1)


def value_without(history: History, key: Key, end: int, dropped: int) -> Any:  # noqa: ANN401 - of any aspect
    """Return the value of one thing after the first *end* micro-ops without those that are dropped."""
    chain, micros = history.chains[key], history.micros
    place = bisect_left(chain, end)
    least = 0
    while place and (dropped >> chain[place - 1] & 1 or is_below(micros[chain[place - 1]])):
        if not dropped >> chain[place - 1] & 1:
            least = max(least, micros[chain[place - 1]].stop)
        place -= 1
    change = micros[chain[max(place - 1, 0)]].change_of(key)
    value = change.after if place else change.before
    return max(value, least) if least else value


def overlay_without(history: History, end: int, dropped: int) -> Overlay:
    """Return the values that differ after the first *end* micro-ops if some of them are dropped."""
    overlay: dict[int, dict[tuple[str, str | int], Any]] = defaultdict(dict)
    for number in bits(dropped):
        for aspect, node, where, _, _ in history.micros[number].changes:
            values = overlay[node]
            if (aspect, where) not in values:
                values[aspect, where] = value_without(history, (aspect, node, where), end, dropped)
    return overlay
