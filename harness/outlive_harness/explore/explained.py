"""Whether ops explain what a run leaves: an output that somebody else writes is judged by no crash point.

A process outside the tree may hold a descriptor of the box (SCM_RIGHTS of unix(7)), or know its path. What
such a process does is no op, so no fault is injected there. The recorded ops, replayed on the model of the
disk, must give each output that the recorded run left.
"""

from __future__ import annotations

import os
import stat
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from outlive_harness.disk import content
from outlive_harness.disk.model import Disk, UnmodelledError
from outlive_harness.disk.tree import Tree
from outlive_harness.trace import Op


def unexplained(
    initial: Path, ops: Iterable[Op], real: Tree, *, box: Path, mark: bytes, is_output: Callable[[str], bool]
) -> list[str]:
    """Name the outputs that the ops of a run do not account for.

    What an op changes in a way that the model does not know counts as explained, and so does a file that
    several tasks change at once, if it has the right bytes in another order: ops are recorded before they
    run, so two of them may run in the other order.

    Args:
        initial: the files before the run, as a directory.
        ops: what the run did, with its data.
        real: the files that it left.
        box: where they are.
        mark: the box's path, as digests replace it.
        is_output: says of a relative path whether it is an output.
    """
    disk = Disk.load(initial)
    unknown: set[str] = set()
    tasks: dict[str, set[int]] = defaultdict(set)
    for op in ops:
        tasks[op.path].add(op.tid)
        tasks[op.target].add(op.tid)
        try:
            disk.apply(op)
        except UnmodelledError:
            unknown |= {op.path, op.target}
    model = disk.tree(mark)
    found = []
    for path in sorted(filter(is_output, model.keys() | real.keys())):
        here, told = real.get(path), model.get(path)
        if here is not None and told is not None and (here.kind, here.digest) == (told.kind, told.digest):
            continue
        names = {path, *_above(path)}
        is_shared = any(len(tasks[name]) > 1 for name in names if name in tasks)
        if names & unknown or (is_shared and _has_bytes(disk, path, box / path)):
            continue
        found.append(path)
    return found


def _above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _has_bytes(disk: Disk, path: str, file: Path) -> bool:
    """Tell whether a file has the bytes that the model has at its path, in whatever order."""
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
    told: Counter[int] = Counter()
    for _, part in content.chunks(node.blocks, node.size):
        told.update(part)
    told[0] += node.size - told.total()  # gaps read as zeros
    return here == told
