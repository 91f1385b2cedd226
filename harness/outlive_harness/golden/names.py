"""Names that differ from run to run, so that states that differ in such names alone are one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from outlive_harness import abi
from outlive_harness.results.globs import common_ends
from outlive_harness.results.ops import Op

from .record import Record


def learn_names(made: Record, ops: Iterable[Op]) -> None:
    """Compare the names of the first golden run with those of another one."""
    made.shapes.clear()
    first, second = ({name for op in several for name in op.paths} for several in (made.ops, ops))
    made.stable = (first & second) | set(made.initial)
    for path in sorted(first - second, key=lambda path: (path.count("/"), path)):
        parent, _, name = path.rpartition("/")
        others = [
            other.rpartition("/")[2]
            for other in second - first
            if made.fold(other.rpartition("/")[0]) == made.fold(parent) and len(other) == len(path)
        ]
        ends = [common_ends(name, other) for other in sorted(others)]
        if ends:  # the other run's name that is most like this one
            best = max(ends, key=lambda pair: len(pair[0]) + len(pair[1]))
            made.shapes.setdefault((made.fold(parent), len(name)), set()).add(best)


def has_order(made: Record, ops: Iterable[Op]) -> bool:
    """Return whether another run made the same ops, in the same order."""
    return shape(made, ops) == shape(made, made.ops)


def shape(made: Record, ops: Iterable[Op]) -> list[tuple[str, str, str, int]]:
    """Return what two runs of a pipeline have in common, op by op, if they do the same."""
    ignored = made.spec.is_ignored  # the length of such a file may be as random as its content
    return [
        (op.kind, made.fold(op.path), made.fold(op.target), 0 if ignored(op.path) else op.length)
        for op in ops
    ]


def later_names(path: str, ops: Sequence[Op]) -> list[str]:
    """Return all names that a file has at any time: it, or a directory above it, is renamed or linked."""
    names = {path: None}
    for op in ops:
        ways = [(op.path, op.target)] if op.traits.installs and op.target else []
        if op.kind == "rename" and op.flags & abi.RENAME_EXCHANGE:
            ways.append((op.target, op.path))
        for old, new in ways:
            below = [name for name in names if name == old or name.startswith(f"{old}/")]
            names |= dict.fromkeys(new + name[len(old) :] for name in below)
    return list(names)
