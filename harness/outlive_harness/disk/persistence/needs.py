"""The order in which micro-ops persist on a disk with a profile: the rules behind profiles.py."""

from __future__ import annotations

from collections import defaultdict

from outlive_harness import abi
from outlive_harness.disk.content import BLOCK
from outlive_harness.disk.model.files import BLOCK_OF
from outlive_harness.disk.profiles import Profile

from .micro import History, Micro, size_of, until
from .syncs import is_metadata, is_one_step, last_change

#: The longest write that persists whole: the folios of a longer one may be written apart.
_WHOLE_UP_TO = 1 << 16


def needs(history: History, profile: Profile) -> list[set[int]]:
    """Return, for each micro-op, those that must persist before it; those in a cycle persist as one."""
    found = [
        set(micro.needs) if profile.names_in_order or micro.what not in ("name", "move") else set()
        for micro in history.micros
    ]
    flushed = _Flushed(history)
    due: set[int] = set()  # what must persist before the next commit
    for op in range(1, len(history.ops) + 1):
        parts = [history.micros[number] for number in history.parts(op)]
        if history.ops[op - 1].traits.writes:
            _join(profile, parts, found)
        due |= _due(history, profile, op, flushed)
        for micro in parts:
            if due and is_metadata(micro):
                found[micro.number] |= due
                due = set()
            found[micro.number] |= _before(history, profile, micro, parts, flushed)
            flushed.note(micro)
    return found


def _before(
    history: History, profile: Profile, micro: Micro, parts: list[Micro], flushed: _Flushed
) -> set[int]:
    """Return the micro-ops that must persist before one of them."""
    others = {other.number for other in parts} - {micro.number}
    if micro.what == "move":
        first = profile.one_step_rename == "directory" and micro.part == 1
        one = others if first or is_one_step(history, profile, micro.op) else set()
        return one | (_before_replacing(history, profile, micro, flushed) if micro.part == 2 else set())
    if micro.what == "size" and profile.shrink_frees:
        return {other.number for other in parts if other.what == "free"}
    if micro.what == "edge" and profile.data_first:
        return _before_edge(history, profile, micro)
    return _before_growing(history, profile, micro, flushed.growths) if micro.what == "grow" else set()


class _Flushed:
    """The micro-ops of each file that its write-back persists, op by op."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.growths: dict[int, list[int]] = defaultdict(list)
        self._fresh: dict[int, list[int]] = defaultdict(list)
        self._emptied: dict[int, int] = {}

    def note(self, micro: Micro) -> None:
        """Add the next micro-op."""
        if not micro.changes:
            return
        node = micro.changes[0].node
        if micro.what == "grow":
            self.growths[node].append(micro.number)
        elif micro.what == "data" and _is_fresh(micro):
            self._fresh[node].append(micro.number)
        elif micro.what == "size" and not micro.changes[0].after:
            self._emptied[node] = micro.number

    def of(self, node: int, op: int, what: str) -> set[int]:
        """Return what write-back that starts before an op persists before the next commit.

        Args:
            node: the file.
            op: the op.
            what: ``size``, the growths; ``fresh``, also the data of blocks that had none; "" nothing.
        """
        # If all blocks were allocated beforehand, write-back is not even started (ext4_alloc_da_blocks()).
        # Seen on Linux 6.18: renamed over a name, and empty.
        if not what or self._history.allocated.get(node, op) < op:
            return set()
        found = {*self.growths[node], *(self._fresh[node] if what == "fresh" else ())}
        return {number for number in found if number > self._emptied.get(node, -1)}


def _due(history: History, profile: Profile, op: int, flushed: _Flushed) -> set[int]:
    """Return what persists before all commits from an op on: of closed files, and of waited-for ranges."""
    due: set[int] = set()
    for node in history.closed.get(op, ()):
        due |= flushed.of(node, op, profile.close_flushes)
    if profile.waits and op in history.waited:
        due |= {number - 1 for number in waited(history, op) if history.micros[number - 1].what == "grow"}
    return due


def _join(profile: Profile, parts: list[Micro], found: list[set[int]]) -> None:
    """Join the parts of a write that persist as one."""
    if profile.whole_blocks:
        _join_halves(parts, found)
    if profile.whole_writes:
        _join_whole(parts, found)


def _join_halves(parts: list[Micro], found: list[set[int]]) -> None:
    """Join the halves of a write within one block, and their growths."""
    blocks = {change.where for micro in parts for change in micro.changes if change.aspect == BLOCK_OF}
    if len(blocks) == 1:
        for what in ("data", "grow"):
            halves = {micro.number for micro in parts if micro.what == what}
            for number in halves:
                found[number] |= halves - {number}


def _join_whole(parts: list[Micro], found: list[set[int]]) -> None:
    """Join the parts of a write that go into blocks without data, and the growths for them."""
    written = [micro for micro in parts if micro.what == "data"]
    if not written or written[-1].stop - written[0].start > _WHOLE_UP_TO:
        return
    fresh = [place for place, micro in enumerate(parts) if micro.what == "data" and _is_fresh(micro)]
    data = {parts[place].number for place in fresh}
    growths = {parts[place - 1].number for place in fresh if place and parts[place - 1].what == "grow"}
    for several in (data, growths):
        for number in several:
            found[number] |= several - {number}


def _before_replacing(history: History, profile: Profile, micro: Micro, flushed: _Flushed) -> set[int]:
    change = micro.changes[0]
    exchange = history.ops[micro.op - 1].flags & abi.RENAME_EXCHANGE
    if change.before is None or exchange:
        return set()
    return flushed.of(change.after, micro.op, profile.replace_flushes)


def _before_growing(
    history: History, profile: Profile, micro: Micro, growths: dict[int, list[int]]
) -> set[int]:
    """Return what must persist before a growth; the micro-op after it is the data that it makes room for."""
    data, node = history.micros[micro.number + 1], micro.changes[0].node
    before = set()
    if profile.data_first == "all" or (profile.data_first == "fresh" and _is_fresh(data)):
        before.add(data.number)
    if profile.growth_in_order and growths[node] and node not in history.scattered:
        before.add(growths[node][-1])
    return before


def _before_edge(history: History, profile: Profile, micro: Micro) -> set[int]:
    """Return what must persist before an edge: the block whose write-back takes the size to its end."""
    node = micro.changes[0].node
    last = last_change(history, (BLOCK_OF, node, (size_of(micro, node) - 1) // BLOCK), micro.number)
    return {number for number in last if profile.data_first == "all" or _is_fresh(history.micros[number])}


def waited(history: History, op: int) -> list[int]:
    """Return the data that a sync_file_range(2) waited for."""
    node, start, stop = history.waited[op]
    parts = map(history.micros.__getitem__, until(history.own[node], history.end[op]))
    return [one.number for one in parts if one.what == "data" and one.start < stop and start < one.stop]


def _is_fresh(data: Micro) -> bool:
    return all(change.before is None for change in data.changes)
