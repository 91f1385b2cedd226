"""Truth 1 at a crash state for files that belong together."""

from __future__ import annotations

from outlive_harness.disk.tree import Tree
from outlive_harness.golden.record import Record
from outlive_harness.judge.sets import FileSet, mixed
from outlive_harness.results.findings import Finding


def mixed_sets(record: Record, state: Tree, found: Tree | None) -> list[Finding]:
    """Return a finding for each declared set whose files are of different versions.

    Args:
        record: the golden run.
        state: the crash state.
        found: what the crashed run began with, if it was itself a recovery; it was judged before.
    """
    findings = []
    for text, known in record.generations.items():
        one = FileSet(text)
        versions = (
            known if found is None else [*known, one.version(_digests(record, one, found), record.fold)]
        )
        told = mixed(one, _digests(record, one, state), versions, record.fold)
        if told is not None:
            findings.append(Finding("torn-output", text, told.sentence, told.detail))
    return findings


def _digests(record: Record, one: FileSet, tree: Tree) -> dict[str, str]:
    """Return the digests of a set's files, without temporary ones."""
    names = {name for version in record.generations[one.text] for files in version for name in files}
    return {
        used: tree[path].digest
        for used, path in one.found(tree, record.is_in_sets).items()
        if record.fold(used) in names
    }
