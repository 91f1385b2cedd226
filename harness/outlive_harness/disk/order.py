"""In which order the crash states after an op are tried: the most often fatal first."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from random import Random
from typing import NamedTuple, Protocol

from .files import ENTRY
from .micro import History
from .view import bits

#: How likely a micro-op is lost, in random sets.
_LIKELY = (0.02, 0.1, 0.3, 0.5, 0.8)


class Model(Protocol):
    """What is asked of the model of power cuts."""

    @property
    def history(self) -> History:
        """The trace."""

    def loose(self, at: int, *, returned: bool = True) -> int:
        """Return what may be lost."""

    def close(self, at: int, dropped: int, *, returned: bool = True) -> int:
        """Add all that cannot persist without it."""

    def keep(self, at: int, kept: int, *, returned: bool = True) -> int:
        """Add all that must have persisted before it."""


class _Moment(NamedTuple):
    """What a model is asked about: the moment after an op, or before its return."""

    model: Model
    at: int
    returned: bool

    def loose(self) -> int:
        return self.model.loose(self.at, returned=self.returned)

    def close(self, dropped: int) -> int:
        return self.model.close(self.at, dropped, returned=self.returned)

    def keep(self, kept: int) -> int:
        return self.model.keep(self.at, kept, returned=self.returned)


def chosen(model: Model, at: int, *, returned: bool) -> Iterator[int]:
    """Yield sets of lost micro-ops after an op, as bits; some come more than once."""
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


def random_sets(model: Model, at: int, random: Random, *, returned: bool) -> Iterator[int]:
    """Yield random sets of lost micro-ops after an op, as bits, without end: of whole ops and of parts."""
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


def every(model: Model, at: int, most: int, *, returned: bool) -> list[int] | None:
    """Return all sets of lost micro-ops after an op, as bits; None where they are more than *most*."""
    moment = _Moment(model, at, returned)
    loose = moment.loose()
    if loose.bit_count() >= most:
        return None  # each may be the first that is lost
    with_it: dict[int, int] = {}
    for_it: dict[int, int] = {}
    found: list[int] = []
    waiting = [(0, loose)]  # what is lost, and what is not decided yet
    while waiting:
        # Of what waits each gives one set at least: no choice goes against those before it.
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
    """Put what may be lost together: by op, data by file, names by directory, all data, all names."""
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
    """Lose the last, the last two, ... of them."""
    gone = 0
    for mask in masks:
        gone |= mask
        yield moment.close(gone) & loose


def _without(moment: _Moment, masks: Iterable[int]) -> Iterator[int]:
    """Lose each, with what depends on it."""
    for mask in masks:
        yield moment.close(mask)


def _alone(moment: _Moment, masks: list[int], loose: int) -> Iterator[int]:
    """Lose all but each, and what it needs."""
    for mask in masks:
        yield loose & ~moment.keep(mask)


def _torn(moment: _Moment, masks: list[int], loose: int) -> Iterator[int]:
    """Lose the end of each op from each of its parts on; with all else there, and with nothing else."""
    for mask in masks:
        rest = mask & (mask - 1)
        while rest:
            yield moment.close(rest)
            yield loose & ~moment.keep(mask & ~rest)
            rest &= rest - 1
