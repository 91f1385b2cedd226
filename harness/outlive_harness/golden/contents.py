"""Whole contents of outputs, and outputs that differ from run to run: learned from two runs."""

from __future__ import annotations

from outlive_harness.disk.tree import Tree
from outlive_harness.intercept.versions import Versions
from outlive_harness.judge import links
from outlive_harness.judge.trees import first_difference

from .record import Record


def first_unlike(record: Record, after: Tree) -> str | None:
    """Return the first output, perhaps behind a link, in which a tree differs from the golden run's."""
    is_output = record.spec.is_output
    found = first_difference(record.final, after, is_output)
    if found is None:
        golden, here = links.seen(record.final, is_output), links.seen(after, is_output)
        found = first_difference(golden, here, lambda _path: True)
    return found


def ignored_files(record: Record, tree: Tree) -> Tree:
    """Return the ignored files of a tree."""
    is_ignored = record.spec.is_ignored
    return {path: entry for path, entry in tree.items() if entry.kind == "file" and is_ignored(path)}


def learn_uncompared(record: Record, first: Tree, second: Tree, versions: tuple[Versions, Versions]) -> None:
    """Note the ignored files that are named as outputs and differ from run to run, except growing logs."""
    written = [op for op in record.ops if op.traits.writes]
    logs = {op.path for op in written} - {op.path for op in written if op.offset >= 0}
    known = [one.known for one in versions]
    record.uncompared = {
        path: first[path]
        for path in filter(record.spec.is_named, (first.keys() & second.keys()) - logs)
        if first[path] != second[path] or known[0].get(path) != known[1].get(path)
    }


def learn_versions(record: Record, first: Versions, second: Versions) -> None:
    """Note the whole contents of each output, and the outputs whose contents differ from run to run."""
    # A temporary file that is renamed to an output is not an output itself.
    outputs = record.initial.keys() | record.final.keys() | first.installed | second.installed
    for path in first.known.keys() | second.known.keys():
        one, other = first.known.get(path, set()), second.known.get(path, set())
        if record.spec.is_output(path):
            if path not in outputs:
                continue
            if one != other:
                record.varying.add(path)
        elif not record.is_shown(path):  # a shown one is visible through a link
            continue
        record.versions[path] = one | other
    for tree in (record.initial, record.final):
        for path, entry in tree.items():
            if record.is_shown(path) and entry.kind == "file":
                record.versions.setdefault(path, set()).add(entry.digest)
