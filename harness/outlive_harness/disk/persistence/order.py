"""The order in which crash states after an op are tried: the most often fatal first."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from random import Random
from typing import NamedTuple

from outlive_harness.disk.model.files import ENTRY

from .closure import Closure
from .micro import History
from .view import bits

#: Probabilities that a micro-op is lost, for random sets.
_LIKELY = (0.02, 0.1, 0.3, 0.5, 0.8)


class _Moment(NamedTuple):
    """The moment after an op, or before its return."""

    model: Closure
    at: int
    returned: bool

    def loose(self) -> int:
        return self.model.loose(self.at, returned=self.returned)

    def close(self, dropped: int) -> int:
        return self.model.close(self.at, dropped, returned=self.returned)

    def keep(self, kept: int) -> int:
        return self.model.keep(self.at, kept, returned=self.returned)


def chosen(model: Closure, at: int, *, returned: bool) -> Iterator[int]:
    """Yield sets of lost micro-ops after an op, as bits; some are yielded more than once."""
    moment = _Moment(model, at, returned)
    loose = moment.loose()
    yield loose
    yield 0
    if not loose:
        return
    groups = _groups(model.history, loose)
    ops = [mask for _, mask in sorted(groups["op"].items(), reverse=True)]
    yield from _in_turn(
        _prefixes(moment, ops, loose),
        _without(moment, ops),
        _alone(moment, ops, loose),
        _without(moment, [*groups["data"].values(), *groups["names"].values(), *groups["kind"].values()]),
        _torn(moment, ops, loose),
    )
    single = [1 << number for number in reversed(list(bits(loose)))]
    yield from _in_turn(
        _prefixes(moment, single, loose), _without(moment, single), _alone(moment, single, loose)
    )


def random_sets(model: Closure, at: int, random: Random, *, returned: bool) -> Iterator[int]:
    """Yield random sets of lost micro-ops after an op, as bits, without end: whole ops, then parts."""
    moment = _Moment(model, at, returned)
    loose = moment.loose()
    units = list(_groups(model.history, loose)["op"].values()), [1 << number for number in bits(loose)]
    for likely in itertools.cycle(_LIKELY):
        for masks in units:
            gone = 0
            for mask in masks:
                if random.random() < likely:
                    gone |= mask
            yield moment.close(gone)


def every(model: Closure, at: int, most: int, *, returned: bool) -> list[int] | None:
    """Return all sets of lost micro-ops after an op, as bits; None if there are more than *most*."""
    moment = _Moment(model, at, returned)
    loose = moment.loose()
    if loose.bit_count() >= most:
        return None  # each micro-op may be the first lost one
    with_it: dict[int, int] = {}
    for_it: dict[int, int] = {}
    found: list[int] = []
    waiting = [(0, loose)]  # (lost, undecided)
    while waiting:
        # Each waiting choice gives at least one set: no choice contradicts an earlier one.
        if len(found) + len(waiting) > most:
            return None
        dropped, open_ = waiting.pop()
        if not open_:
            found.append(dropped)
            continue
        number = open_.bit_length() - 1
        if number not in with_it:
            with_it[number] = moment.close(1 << number) & loose
            for_it[number] = moment.keep(1 << number) & loose
        waiting.append((dropped, open_ & ~for_it[number]))
        waiting.append((dropped | with_it[number], open_ & ~with_it[number]))
    return found


def _in_turn(*several: Iterable[int]) -> Iterator[int]:
    waiting = [iter(one) for one in several]
    while waiting:
        for one in list(waiting):
            found = next(one, None)
            if found is None:
                waiting.remove(one)
            else:
                yield found


def _groups(history: History, loose: int) -> dict[str, dict[int, int]]:
    """Group the micro-ops that may be lost: by op, data by file, names by directory, all data, all names."""
    groups: dict[str, dict[int, int]] = {name: defaultdict(int) for name in ("op", "data", "names", "kind")}
    for number in bits(loose):
        micro = history.micros[number]
        groups["op"][micro.op] |= 1 << number
        change = micro.changes[0]
        named = change.aspect == ENTRY
        groups["names" if named else "data"][change.node] |= 1 << number
        groups["kind"][0 if named else 1 if micro.what == "data" else 2] |= 1 << number
    return groups


def _prefixes(moment: _Moment, masks: list[int], loose: int) -> Iterator[int]:
    """Lose the last group, the last two, ..."""
    gone = 0
    for mask in masks:
        gone |= mask
        yield moment.close(gone) & loose


def _without(moment: _Moment, masks: Iterable[int]) -> Iterator[int]:
    """Lose each group, with what depends on it."""
    for mask in masks:
        yield moment.close(mask)


def _alone(moment: _Moment, masks: list[int], loose: int) -> Iterator[int]:
    """Lose all except each group and what it needs."""
    for mask in masks:
        yield loose & ~moment.keep(mask)


def _torn(moment: _Moment, masks: list[int], loose: int) -> Iterator[int]:
    """Lose the end of each op from each of its parts on: all else persists, or nothing else."""
    for mask in masks:
        rest = mask & (mask - 1)
        while rest:
            yield moment.close(rest)
            yield loose & ~moment.keep(mask & ~rest)
            rest &= rest - 1
