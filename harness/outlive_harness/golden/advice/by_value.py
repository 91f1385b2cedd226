"""Outputs that differ from run to run in their bytes only: the readers and masks by which they are equal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from outlive_harness.golden.record import Record
from outlive_harness.results.patterns import below, literal, undated
from outlive_harness.world.runner import Runner

from .cures import Cure
from .habits import is_ignored_by_name

#: How many outputs are looked at.
_MOST = 200


class ByValue(NamedTuple):
    """What makes outputs equal from run to run.

    Attributes:
        paths: these outputs.
        cures: what to declare: readers and masks, a hash seed, a clock that stands still.
    """

    paths: frozenset[str]
    cures: list[Cure]

    def plus(self, paths: AbstractSet[str], cure: Cure) -> ByValue:
        """Return what is known with one more cure, that of some outputs; nothing more if there are none."""
        return ByValue(self.paths | paths, [*self.cures, cure]) if paths else self


def by_value(runner: Runner, record: Record, paths: Iterable[str]) -> ByValue:
    """Return which outputs in the box have the same value as the golden ones, by some reader or mask."""
    readers: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    masks: dict[str, None] = {}
    equal = set()
    for path in list(paths)[:_MOST]:
        golden, here = record.golden / path, runner.box.path / path
        if not (golden.is_file() and here.is_file()) or is_ignored_by_name(path):
            continue
        reader, several = runner.reading.proposed(record.spec, golden, here)
        masks |= dict.fromkeys(several)
        if reader:
            directory, _, name = path.rpartition("/")
            stem, dot, end = name.partition(".")
            readers[directory, (dot + end) if stem else name, reader].append(path)
        if reader or several:
            equal.add(path)
    others = record.final.keys() - equal
    cures = [Cure("read", f"{_glob(*key[:2], named, others)}={key[2]}") for key, named in readers.items()]
    return ByValue(frozenset(equal), [*cures, *(Cure("mask", mask) for mask in masks)])


def _glob(directory: str, end: str, paths: list[str], others: Collection[str]) -> str:
    """Return a pattern of files that are alike, which does not expire with the month."""
    glob = literal(paths[0]) if len(paths) == 1 else f"{below(directory)}*{literal(end)}"
    return undated([glob], others)[0]
