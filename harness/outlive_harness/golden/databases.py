"""Databases among a run's outputs: what an open one shows is never its bytes, so a reader judges each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from outlive_harness.disk.tree import Tree
from outlive_harness.readers.formats import is_database
from outlive_harness.results.reader_names import DATABASE
from outlive_harness.results.run_spec import RunSpec

from .made_anew import exactly


def with_databases(spec: RunSpec, tree: Tree, root: Path) -> RunSpec:
    """Return a run spec in which each SQLite database that a run left as an output has its reader.

    Args:
        spec: the pipeline; what it declares itself stays.
        tree: what the run left.
        root: where that is.
    """
    found = [
        path
        for path, entry in tree.items()
        if entry.kind == "file" and spec.is_output(path)
        if not spec.has_reader(path) and is_database(root / path)
    ]
    return replace(spec, read=(*spec.read, *((pattern, DATABASE) for pattern in exactly(found))))
