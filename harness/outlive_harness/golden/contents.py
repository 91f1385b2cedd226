"""Which contents of outputs were ever whole, and which outputs differ: learned from two runs."""

from __future__ import annotations

from outlive_harness.disk.tree import Tree
from outlive_harness.intercept.versions import Versions
from outlive_harness.judge import links
from outlive_harness.judge.trees import first_difference
from outlive_harness.world.box import Box

from .record import Record


def first_unlike(made: Record, after: Tree) -> str | None:
    """Return the first output in which a tree differs from the golden run's, also one behind a link."""
    is_output = made.spec.is_output
    found = first_difference(made.final, after, is_output)
    if found is None:
        golden, here = links.seen(made.final, is_output), links.seen(after, is_output)
        found = first_difference(golden, here, lambda _path: True)
    return found


def ignored_files(box: Box, made: Record) -> Tree:
    """Return the files that are ignored, as they stand in the box."""
    if not made.spec.ignore:
        return {}
    several = box.look(made.spec, whole=True)
    is_ignored = made.spec.is_ignored
    return {path: entry for path, entry in several.items() if entry.kind == "file" and is_ignored(path)}


def learn_uncompared(made: Record, first: Tree, second: Tree, versions: tuple[Versions, Versions]) -> None:
    """Note the ignored files that outputs name and that differ from run to run, but for growing logs."""
    written = [op for op in made.ops if op.traits.writes]
    logs = {op.path for op in written} - {op.path for op in written if op.offset >= 0}
    known = [one.known for one in versions]
    made.uncompared = {
        path: first[path]
        for path in filter(made.spec.is_named, (first.keys() & second.keys()) - logs)
        if first[path] != second[path] or known[0].get(path) != known[1].get(path)
    }


def learn_versions(made: Record, first: Versions, second: Versions) -> None:
    """Note the whole contents of each output, and the outputs whose contents differ from run to run."""
    # What is written beside an output, and then renamed to it, is not an output itself.
    outputs = made.initial.keys() | made.final.keys() | first.installed | second.installed
    for path in first.known.keys() | second.known.keys():
        one, other = first.known.get(path, set()), second.known.get(path, set())
        if made.spec.is_output(path):
            if path not in outputs:
                continue
            if one != other:
                made.varying.add(path)
        elif not made.is_shown(path):  # else it is seen through a link
            continue
        made.versions[path] = one | other
    for tree in (made.initial, made.final):
        for path, entry in tree.items():
            if made.is_shown(path) and entry.kind == "file":
                made.versions.setdefault(path, set()).add(entry.digest)
