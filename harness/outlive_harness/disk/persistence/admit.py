"""Whether found files are a crash state of the model: decided name by name, without trying all states.

Every demand of a profile has the form "this persists only after that", and every demand of the found files
has the form "the last change of this that persisted is one of these". If two sets of micro-ops meet such
demands, so does their union: there is a largest set. It remains if nothing is lost at first, and then only
what must be.

If a name may stand for several files (an old and a new one), each is tried.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from outlive_harness.disk import content
from outlive_harness.disk.content import BLOCK, Block
from outlive_harness.disk.model.files import ATTRIBUTE, BLOCK_OF, ENTRY, ROOT, SIZE, Node
from outlive_harness.disk.tree import Entry, Tree, scan

from .closure import Closure
from .micro import Key, is_below, until

Reader = Callable[[str], bytes]

#: The most ways in which found files may have come about that are tried.
_MOST_WAYS = 4096
#: The most contents of one file that are tried if only its digest is known.
_MOST_CONTENTS = 4096


class UndecidedError(RuntimeError):
    """There are too many ways in which found files may have come about."""


def admits(
    model: Closure, found: Tree | Path, at: int, *, read: Reader | None = None, returned: bool = True
) -> bool:
    """Implement PowerModel.admits(); the model's view is moved to op *at*."""
    if isinstance(found, Path):
        root = found
        found = scan(root)

        def read(path: str) -> bytes:
            return (root / path).read_bytes()

    case = _Case(model, found, at, read, returned)
    return any(case.solve(demands) for demands in case.ways())


#: How a prefix of a chain of changes can fit: not at all, or it does. A file's size can also be too short,
#: which fits below an edge that fits, and an edge can be too short itself.
_NO, _FITS, _SHORT, _EDGE, _SHORT_EDGE = 0, 1, 2, 3, 4
#: For each chain of changes, how each length of its persistent prefix fits.
Demands = dict[Key, list[int]]


class _Name(NamedTuple):
    """A name of a directory.

    Attributes:
        path: its path.
        key: the thing that changes.
        values: its values in turn.
        candidates: the values that fit the found files.
        above: the directories above it; a cycle is not followed, so a name of one of them is not shown.
    """

    path: str
    key: Key
    values: list[int | None]
    candidates: list[int | None]
    above: frozenset[int]


@dataclass(slots=True)
class _Way:
    """A partial choice of files for names."""

    directories: list[tuple[str, int, frozenset[int]]]
    names: list[_Name]
    files: dict[int, str]
    demands: Demands

    def copy(self) -> _Way:
        return _Way(list(self.directories), list(self.names), dict(self.files), dict(self.demands))


@dataclass(slots=True)
class _Case:
    model: Closure
    found: Tree
    at: int
    read: Reader | None
    returned: bool
    chains: dict[Key, list[int]] = field(default_factory=dict)
    below: dict[str, dict[str, Entry]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    matches: dict[tuple[int, str], list[Demands]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.below[""] = {}
        for path, entry in self.found.items():
            above, _, name = path.rpartition("/")
            self.below.setdefault(above, {})[name] = entry
            if entry.kind == "dir":
                self.below.setdefault(path, {})

    # -- the model's values --------------------------------------------------------------------------

    def chain(self, key: Key) -> list[int]:
        """Return the micro-ops up to the op that change one thing."""
        if key not in self.chains:
            history = self.model.history
            self.chains[key] = until(history.chains.get(key, []), history.end[self.at])
        return self.chains[key]

    def values(self, key: Key, now: Any) -> list[Any]:  # noqa: ANN401
        """Return the values of one thing: before its first change, after it, after the second, ..."""
        chain = self.chain(key)
        if not chain:
            return [now]
        changes = [self.model.history.micros[number].change_of(key) for number in chain]
        return [changes[0].before, *(change.after for change in changes)]

    def sizes(self, key: Key, now: int, wanted: int) -> list[int]:
        """Return how each length of the chain of a file's sizes fits."""
        values = self.values(key, now)
        fits = [_FITS if value == wanted else _NO for value in values]
        below = {
            place: self.model.history.micros[number].stop
            for place, number in enumerate(self.chain(key), start=1)
            if is_below(self.model.history.micros[number])
        }
        if not below:
            return fits
        fits = [_SHORT if value < wanted else fit for value, fit in zip(values, fits, strict=True)]
        for place, edge in below.items():
            fits[place] = _EDGE if edge == wanted else _SHORT_EDGE if edge < wanted else _NO
        return fits

    def node(self, number: int) -> Node:
        """Return a file as it is if nothing is lost."""
        return self.model.view.nodes[number]

    # -- which file is behind which name -------------------------------------------------------------

    def ways(self) -> Iterator[Demands]:
        """Yield the demands of each way to choose the file behind each found name."""
        waiting = [_Way([("", ROOT, frozenset())], [], {ROOT: ""}, {})]
        for tries in itertools.count():
            if not waiting:
                return
            if tries >= _MOST_WAYS:
                raise UndecidedError(f"more than {_MOST_WAYS} ways in which the files may have come about")
            way = waiting.pop()
            if tries and not self.solve(way.demands):
                continue  # impossible, whatever else is chosen
            while way.directories or way.names:
                if not way.names:
                    names = self._names(*way.directories.pop())
                    if names is None:
                        break
                    way.names = names
                    continue
                name = way.names.pop()
                options = list(self._options(name, way.files))
                if not options:
                    break
                waiting += [self._with(way.copy(), name, option) for option in reversed(options[1:])]
                way = self._with(way, name, options[0])
            else:
                yield way.demands

    def _names(self, path: str, number: int, above: frozenset[int]) -> list[_Name] | None:
        """Return the names of a directory and the files each may stand for; None if one has none."""
        node = self.node(number)
        found = self.below[path]
        above |= {number}
        names = []
        for name in sorted({*node.entries, *found, *self.model.history.names.get(number, ())}):
            key = (ENTRY, number, name)
            wanted = f"{path}/{name}" if path else name
            values = self.values(key, node.entries.get(name))
            candidates: list[int | None] = [
                value for value in dict.fromkeys(values) if value is None or value in above
            ]
            if name in found:
                candidates = [
                    value
                    for value in dict.fromkeys(reversed(values))
                    if value is not None and value not in above and self.match(value, wanted)
                ]
            if not candidates:
                return None
            names.append(_Name(wanted, key, values, candidates, above))
        return names

    def _options(self, name: _Name, files: dict[int, str]) -> Iterator[tuple[int | None, Demands]]:
        for candidate in name.candidates:
            if candidate is None or candidate in name.above:
                yield candidate, {}
            elif candidate not in files:
                yield from ((candidate, demands) for demands in self.match(candidate, name.path))
            elif self._is_same(files[candidate], name.path):
                yield candidate, {}  # a second name of the same file

    def _is_same(self, first: str, second: str) -> bool:
        """Return whether two paths show the same, and so can be names of one file or directory."""
        if self.found[first] != self.found[second]:
            return False
        below = self.below.get(first, {}), self.below.get(second, {})
        return below[0] == below[1] and all(
            self._is_same(f"{first}/{name}", f"{second}/{name}") for name in below[0]
        )

    def _with(self, way: _Way, name: _Name, option: tuple[int | None, Demands]) -> _Way:
        candidate, demands = option
        way.demands |= demands
        way.demands[name.key] = [value == candidate for value in name.values]
        if candidate is not None and candidate not in name.above and candidate not in way.files:
            if self.found[name.path].kind == "dir":
                way.directories.append((name.path, candidate, name.above))
            way.files[candidate] = name.path
        return way

    # -- whether a file can be the found one ---------------------------------------------------------

    def match(self, number: int, path: str) -> list[Demands]:
        """Return the ways in which a file can be the one found at a path; none if it cannot."""
        if (number, path) not in self.matches:
            self.matches[number, path] = self._match(number, path)
        return self.matches[number, path]

    def _match(self, number: int, path: str) -> list[Demands]:
        node, entry = self.node(number), self.found[path]
        named = node.kind in ("link", "special")
        if node.kind != entry.kind or (named and node.target != entry.digest):
            return []
        demands: Demands = {}
        if node.kind != "link":
            key: Key = (ATTRIBUTE, number, "mode")
            demands[key] = [value == entry.mode for value in self.values(key, node.mode)]
        if node.kind == "file":
            key = (SIZE, number, 0)
            demands[key] = self.sizes(key, node.size, entry.size)
        if not all(any(allowed) for allowed in demands.values()):
            return []
        return [demands] if node.kind != "file" else self._match_content(number, path, node, demands)

    def _match_content(self, number: int, path: str, node: Node, demands: Demands) -> list[Demands]:
        entry = self.found[path]
        versions = {
            index: self.values((BLOCK_OF, number, index), node.blocks.get(index))
            for index in {*node.blocks, *self.model.history.blocks.get(number, ())}
            if index * BLOCK < entry.size
        }
        if self.read is None:
            return [{**demands, **more} for more in self._try_contents(number, entry, versions)]
        if path not in self.contents:
            self.contents[path] = self.read(path)
        more = self._compare(number, self.contents[path], versions)
        return [] if more is None else [{**demands, **more}]

    def _compare(self, number: int, data: bytes, versions: dict[int, list[Block | None]]) -> Demands | None:
        """Return the demands of a content on the blocks of a file; None if it does not fit."""
        demands: Demands = {}
        for index in range((len(data) + BLOCK - 1) // BLOCK):
            part = data[index * BLOCK : (index + 1) * BLOCK]
            fits: list[int] = [_bytes(block, len(part)) == part for block in versions.get(index, [None])]
            if not any(fits):
                return None
            if index in versions:
                demands[BLOCK_OF, number, index] = fits
        return demands

    def _try_contents(
        self, number: int, entry: Entry, versions: dict[int, list[Block | None]]
    ) -> Iterator[Demands]:
        """Yield the demands of all contents of a file with the found digest."""
        fixed = {index: blocks[0] for index, blocks in versions.items() if len(blocks) == 1}
        several = {index: blocks for index, blocks in versions.items() if len(blocks) > 1}
        tries = itertools.product(*(range(len(blocks)) for blocks in several.values()))
        for count, places in enumerate(tries):
            if count >= _MOST_CONTENTS:
                raise UndecidedError(f"too many contents to try for a file of {entry.size} bytes")
            chosen = dict(zip(several, places, strict=True))
            blocks = {**fixed, **{index: several[index][place] for index, place in chosen.items()}}
            there = {index: block for index, block in blocks.items() if block is not None}
            if content.digest(there, entry.size) == entry.digest:
                yield {
                    (BLOCK_OF, number, index): [
                        _bytes(block, BLOCK) == _bytes(several[index][place], BLOCK)
                        for block in several[index]
                    ]
                    for index, place in chosen.items()
                }

    # -- whether all demands can be met at once ------------------------------------------------------

    def solve(self, demands: Demands) -> bool:
        """Lose what must be lost; return whether the rest is a state."""
        held = self.model.durable(self.at, returned=self.returned)
        dropped = 0
        waiting = [(self.chain(key), allowed) for key, allowed in demands.items()]
        places = [len(chain) for chain, _ in waiting]
        changed = True
        while changed:
            changed = False
            for which, (chain, allowed) in enumerate(waiting):
                place, more = _lower(chain, allowed, places[which], dropped)
                if place < 0:
                    return False
                places[which] = place
                if more:
                    dropped = self.model.close(self.at, more, dropped, returned=self.returned)
                    changed = True
                    if dropped & held:
                        return False
        return True


def _lower(chain: list[int], allowed: list[int], place: int, dropped: int) -> tuple[int, int]:
    """Return the longest prefix of a chain that may have persisted (-1 if none), and what more is lost then.

    Args:
        chain: the micro-ops that change one thing.
        allowed: how each length of the prefix fits.
        place: the length so far.
        dropped: the lost micro-ops; the last one that persisted counts.
    """
    more, edge = 0, -1
    while place >= 0:
        gone = place and dropped >> chain[place - 1] & 1
        fit = _NO if gone else allowed[place]
        if fit == _FITS or (fit == _SHORT and edge >= 0):
            return max(place, edge), more
        if fit == _EDGE:
            edge = max(place, edge)
        elif place and not gone and fit != _SHORT_EDGE:
            more |= 1 << chain[place - 1]
        place -= 1
    return -1, more


def _bytes(block: Block | None, length: int) -> bytes:
    data = b"" if block is None else block.read()[:length]
    return data.ljust(length, b"\0")
