"""What makes a pipeline judgeable whose outputs differ from run to run: options, ready to paste."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from outlive_harness.disk.tree import Tree
from outlive_harness.results.globs import quoted
from outlive_harness.world.runner import Runner

from .record import Record

#: How many outputs are looked at.
_MOST = 200


class Proposed(NamedTuple):
    """What makes one output equal from run to run.

    Attributes:
        path: the output.
        reader: its reader; "" for none.
        masks: regular expressions of what is left out of its text.
    """

    path: str
    reader: str = ""
    masks: tuple[str, ...] = ()


def proposed(runner: Runner, record: Record, paths: Iterable[str]) -> list[Proposed]:
    """Return what would make outputs in the box equal to the golden ones, where that is known."""
    found = []
    for path in list(paths)[:_MOST]:
        golden, here = record.golden / path, runner.box.path / path
        if not (golden.is_file() and here.is_file()):
            continue
        reader, masks = runner.reading.proposed(record.spec, golden, here)
        if reader or masks:
            found.append(Proposed(path, reader, tuple(masks)))
    return found


def options(several: Iterable[Proposed]) -> list[str]:
    """Return the options of check that are the same, one for files that are alike."""
    readers: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    masks: dict[str, None] = {}
    for one in several:
        masks |= dict.fromkeys(one.masks)
        if one.reader:
            directory, _, name = one.path.rpartition("/")
            stem, dot, end = name.partition(".")
            readers[directory, (dot + end) if stem else name, one.reader].append(one.path)
    found = []
    for (directory, end, reader), paths in readers.items():
        glob = quoted(paths[0])
        if len(paths) > 1:
            glob = f"{quoted(directory)}/*{quoted(end)}" if directory else f"*{quoted(end)}"
        found.append(f"--read {shlex.quote(f'{glob}={reader}')}")
    return [*found, *(f"--mask {shlex.quote(mask)}" for mask in masks)]


def advice(runner: Runner, record: Record, after: Tree, unlike: Iterable[str]) -> str:
    """Return a few lines on what to add, if that is known of any output that differs; else ""."""
    paths = list(unlike)
    several = proposed(runner, record, paths)
    if not several:
        return ""
    left = sorted(set(paths) - {one.path for one in several})
    text = "to judge what it means, and not its bytes, add: " + " ".join(options(several))
    if left:
        ignore = " ".join(f"--ignore {shlex.quote(quoted(path))}" for path in left if path in after)
        text += f" {ignore}" if ignore else ""
    return text
