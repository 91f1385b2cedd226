"""Whether ops account for a run's outputs: no crash point tests an output that another process writes.

A process outside the tree may hold a descriptor of the box (SCM_RIGHTS of unix(7)), or know its path. Its
calls are not intercepted, so no fault is injected into them. The recorded ops, replayed on the model of the
disk, must give each output that the recorded run left.
"""

from __future__ import annotations

import os
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from outlive_harness.disk import content
from outlive_harness.disk.model import Disk, UnmodelledError
from outlive_harness.disk.tree import Tree
from outlive_harness.results.ops import Op


class Replayed(NamedTuple):
    """A run's ops, replayed on the model of the disk.

    Attributes:
        disk: the model after the ops.
        tree: its files.
        unknown: the paths that ops change in a way unknown to the model.
        why: what the model does not know about the first of these ops; "" if it knows all.
    """

    disk: Disk
    tree: Tree
    unknown: set[str]
    why: str


def replayed(initial: Path, ops: Iterable[Op], mark: bytes) -> Replayed:
    """Replay ops on the model of the disk, without those that it does not know.

    Args:
        initial: a directory with the files before the first op.
        ops: the ops, with their data.
        mark: the box's path, which digests replace.
    """
    disk = Disk.load(initial)
    unknown: set[str] = set()
    why = ""
    for op in ops:
        try:
            disk.apply(op)
        except UnmodelledError as error:
            unknown |= {op.path, op.target}
            why = why or str(error)
    return Replayed(disk, disk.tree(mark), unknown, why)


def unexplained(
    model: Replayed, ops: Iterable[Op], real: Tree, *, box: Path, is_output: Callable[[str], bool]
) -> list[str]:
    """Return the outputs that the ops of a run do not account for.

    A file that an op changes in a way unknown to the model counts as explained. So does one that several
    tasks change at once, if it has the right bytes in another order: ops are recorded before they run, so two
    of them may run in the other order.

    Args:
        model: the run's ops, replayed.
        ops: the same ops.
        real: the files that the run left.
        box: the directory that holds them.
        is_output: returns whether a relative path is an output.
    """
    tasks: dict[str, set[int]] = defaultdict(set)
    for op in ops:
        tasks[op.path].add(op.tid)
        tasks[op.target].add(op.tid)
    found = []
    for path in sorted(filter(is_output, model.tree.keys() | real.keys())):
        here, expected = real.get(path), model.tree.get(path)
        if (
            here is not None
            and expected is not None
            and (here.kind, here.digest) == (expected.kind, expected.digest)
        ):
            continue
        names = {path, *_above(path)}
        is_shared = any(len(tasks[name]) > 1 for name in names if name in tasks)
        if names & model.unknown or (is_shared and _has_bytes(model.disk, path, box / path)):
            continue
        found.append(path)
    return found


def _above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _has_bytes(disk: Disk, path: str, file: Path) -> bool:
    """Return whether a file has the bytes that the model has at its path, in any order."""
    number = disk.files.walk(path)
    if number is None:
        return False
    node = disk.files.nodes[number]
    try:
        info = os.lstat(file)
        if not stat.S_ISREG(info.st_mode) or node.kind != "file" or info.st_size != node.size:
            return False
        here = Counter(file.read_bytes())
    except OSError:
        return False
    expected: Counter[int] = Counter()
    for _, part in content.chunks(node.blocks, node.size):
        expected.update(part)
    expected[0] += node.size - expected.total()  # gaps read as zeros
    return here == expected
