"""Names that differ from run to run: crash states that differ only in such names are one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from outlive_harness import abi
from outlive_harness.disk.tree import Tree
from outlive_harness.results.globs import common_ends
from outlive_harness.results.ops import Op

from .record import Record


def learn_names(record: Record, ops: Iterable[Op], left: Tree) -> None:
    """Learn such names by comparing the first golden run with another one.

    Args:
        record: the first run.
        ops: the ops of the other run.
        left: the files that it left.
    """
    record.shapes.clear()
    runs = ((record.ops, record.final), (ops, left))
    first, second = ({name for op in several for name in op.paths} | tree.keys() for several, tree in runs)
    record.stable = (first & second) | set(record.initial)
    for path in sorted(first - second, key=lambda path: (path.count("/"), path)):
        parent, _, name = path.rpartition("/")
        others = [
            other.rpartition("/")[2]
            for other in second - first
            if record.fold(other.rpartition("/")[0]) == record.fold(parent) and len(other) == len(path)
        ]
        ends = [common_ends(name, other) for other in sorted(others)]
        if ends:  # take the other run's most similar name
            best = max(ends, key=lambda pair: len(pair[0]) + len(pair[1]))
            record.shapes.setdefault((record.fold(parent), len(name)), set()).add(best)


def aligned(record: Record, tree: Tree) -> Tree:
    """Return a tree in which outputs under names that differ from run to run have the golden run's names.

    Only those that equal a golden output under such a name: what is left over was not found there.
    """
    if not record.shapes:
        return tree
    missing: dict[str, list[str]] = defaultdict(list)
    for path in record.final:
        if path not in tree and (name := record.fold(path)) != path:
            missing[name].append(path)
    found: Tree = {}
    for path, entry in tree.items():
        names = missing.get(record.fold(path), ()) if path not in record.final else ()
        golden = next((one for one in names if record.final[one] == entry), None)
        if golden is not None:
            missing[record.fold(path)].remove(golden)
        found[golden or path] = entry
    return found


def has_order(record: Record, ops: Iterable[Op]) -> bool:
    """Return whether another run made the same ops, in the same order."""
    return shape(record, ops) == shape(record, record.ops)


def shape(record: Record, ops: Iterable[Op]) -> list[tuple[str, str, str, int]]:
    """Return the ops of a run without what may differ between equal runs."""
    ops = list(ops)
    vary = _of_any_length(record, ops)
    return [
        (op.kind, record.fold(op.path), record.fold(op.target), 0 if op.path in vary else op.length)
        for op in ops
    ]


def _of_any_length(record: Record, ops: Sequence[Op]) -> set[str]:
    """Return the paths of files whose length may be random, as their content: ignored ones, and those read.

    What is read under a later name, as a temporary file that is renamed to an output, is read too.
    """
    spec = record.spec
    paths = {op.path for op in ops if op.traits.writes}
    found = set(filter(spec.is_ignored, paths))
    if spec.read or spec.mask:
        found |= {path for path in paths if any(map(spec.reader_of, later_names(path, ops)))}
    return found


def later_names(path: str, ops: Sequence[Op]) -> list[str]:
    """Return all names that a file ever has, as it or a directory above it is renamed or linked."""
    names = {path: None}
    for op in ops:
        ways = [(op.path, op.target)] if op.traits.installs and op.target else []
        if op.kind == "rename" and op.flags & abi.RENAME_EXCHANGE:
            ways.append((op.target, op.path))
        for old, new in ways:
            below = [name for name in names if name == old or name.startswith(f"{old}/")]
            names |= dict.fromkeys(new + name[len(old) :] for name in below)
    return list(names)
