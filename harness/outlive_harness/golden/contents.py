"""Whole contents of outputs, and outputs that differ from run to run: learned from two runs."""

from __future__ import annotations

from pathlib import Path

from outlive_harness.disk.tree import Tree
from outlive_harness.intercept.versions import Noted
from outlive_harness.judge import links
from outlive_harness.judge.trees import describe_difference, differing, first_difference, surplus
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.world.reading import Valued
from outlive_harness.world.runner import Runner

from .names import aligned
from .record import Record, UntestableError


def first_unlike(record: Record, after: Tree) -> str | None:
    """Return the first output, perhaps behind a link, in which a tree differs from the golden run's."""
    is_output, after = record.spec.is_output, aligned(record, after)
    found = first_difference(record.final, after, is_output)
    if found is None:
        golden, here = links.seen(record.final, is_output), links.seen(after, is_output)
        found = first_difference(golden, here, lambda _path: True)
    return found


def all_unlike(record: Record, after: Tree) -> list[str]:
    """Return the outputs in which a tree differs from the golden run's."""
    is_output, after = record.spec.is_output, aligned(record, after)
    extra = [path for path in surplus(record.final, after) if is_output(path)]
    return sorted({*differing(record.final, after, is_output), *extra})


def difference(runner: Runner, record: Record, path: str, after: Tree) -> str:
    """Return a few lines on how an output in the box differs from the golden one, in its reader's terms."""
    return difference_in(runner, record, path, record.final, after, runner.box.path)


def difference_in(runner: Runner, record: Record, path: str, golden: Tree, after: Tree, box: Path) -> str:
    """Return a few lines on how a path of a tree differs from that of the golden run.

    Args:
        runner: reads outputs.
        record: the golden run.
        path: the output.
        golden: the golden run's files, perhaps under the names that links give them.
        after: the files that are compared with them.
        box: where these are.
    """
    old, new = golden.get(path), after.get(path)
    if not (isinstance(new, Valued) and isinstance(old, Valued)) or old.mode != new.mode:
        return describe_difference(path, golden, after, record.golden, box)
    if new.failed:
        return f"the reader {new.reader}: {new.failed}"
    told = runner.reading.difference(record.spec, new.reader, record.golden / path, box / path)
    return "\n".join([f"by the reader {new.reader}:", *told])


def demand_values(record: Record, asked: RunSpec) -> None:
    """Check that each reader accepts what the golden run left, and has something to read.

    Args:
        record: the golden run.
        asked: the pipeline with no readers but those that the user asked for.

    Raises:
        UntestableError: one does not.
    """
    read = {one.reader for one in record.final.values() if isinstance(one, Valued)}
    for path, entry in record.final.items():
        if isinstance(entry, Valued) and entry.failed:
            raise UntestableError(
                f"read={{{path!r}: {entry.reader!r}}}: after the golden run {entry.failed}; give a reader "
                "that accepts what the pipeline makes, or leave it out",
                is_misuse=bool(asked.reader_of(path)),
            )
    for glob, reader in record.spec.read:
        if reader not in read and reader != "bytes":
            why = "the golden run left nothing that matches; correct the pattern, or leave it out"
            raise UntestableError(f"read={{{glob!r}: {reader!r}}}: {why}", is_misuse=True)


def ignored_files(record: Record, tree: Tree) -> Tree:
    """Return the ignored files of a tree."""
    is_ignored = record.spec.is_ignored
    return {path: entry for path, entry in tree.items() if entry.kind == "file" and is_ignored(path)}


def learn_uncompared(record: Record, first: Tree, second: Tree, versions: tuple[Noted, Noted]) -> None:
    """Note the ignored files that are named as outputs and differ from run to run, except growing logs."""
    written = [op for op in record.ops if op.traits.writes]
    logs = {op.path for op in written} - {op.path for op in written if op.offset >= 0}
    known = [one.known for one in versions]
    record.uncompared = {
        path: first[path]
        for path in filter(record.spec.is_named, (first.keys() & second.keys()) - logs)
        if first[path] != second[path] or known[0].get(path) != known[1].get(path)
    }


def learn_versions(record: Record, first: Noted, second: Noted) -> None:
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
            if record.is_shown(path) and (entry.kind == "file" or isinstance(entry, Valued)):
                record.versions.setdefault(path, set()).add(entry.digest)
