"""Truth 1 at a crash state: no reader ever sees partial content under an output's name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from outlive_harness.disk.tree import Entry, Tree
from outlive_harness.golden.contents import difference_in
from outlive_harness.golden.record import Record
from outlive_harness.judge import links, trees
from outlive_harness.judge.held_open import held_open
from outlive_harness.results.findings import Finding
from outlive_harness.results.reader_names import DATABASE
from outlive_harness.world.reading import Valued
from outlive_harness.world.runner import Runner

from .crash import Crash
from .mixed_sets import mixed_sets

#: What to do about a database of which several transactions make one output.
_OF_A_DATABASE = (
    "readers see what each transaction leaves: put what belongs together into one (with Python's sqlite3, "
    'execute("BEGIN") before CREATE and DROP, which otherwise commit at once); or declare it settled'
)


def partial_outputs(runner: Runner, record: Record, state: Tree, crash: Crash) -> list[Finding]:
    """Return a finding for each output in the box that is visible half-written, or beside another version."""
    known = _whole_contents(record, crash)
    visible, golden, whole = _visible(runner, record, state, known, crash)
    boxes = trees.Boxes(runner.box.path, record.golden, record.template, runner.box.own)
    found = trees.torn_outputs(visible, golden, whole, boxes, record.spec.is_append_only)
    if record.refused:
        # Without ops, whole contents that were replaced later are unknown; a strict prefix is partial anyway.
        found = [path for path in found if _is_prefix(runner.box.path / path, record.golden / path)]
    several = [
        path for path in found if not _is_not_filled_yet(record, visible[path], golden.get(path), path)
    ]
    partial = [_finding(runner, record, path, visible, golden, boxes) for path in several]
    return [*partial, *mixed_sets(record, state, crash.found)]


def _is_not_filled_yet(record: Record, here: Entry, golden: Entry | None, path: str) -> bool:
    """Return whether a database has its tables, and no row yet: to readers that is as if it were absent."""
    if not (isinstance(here, Valued) and here.is_empty):
        return False
    before = record.initial.get(path)
    is_filled_later = isinstance(golden, Valued) and not golden.is_empty
    return is_filled_later and (before is None or (isinstance(before, Valued) and before.is_empty))


def _whole_contents(record: Record, crash: Crash) -> Mapping[str, set[str]]:
    """Return the digests of whole contents, by path."""
    known = record.versions
    if crash.versions is None:
        return known
    # Whole contents may depend on the order of tasks, on what a recovery found, or on a handled error: then
    # what this run itself made whole counts too. What it found was judged after the crash before.
    own = {path: crash.versions.get(path, set()) for path in record.varying | record.uncompared.keys()}
    if crash.found is not None or crash.went_on:
        own |= {path: crash.versions.get(path, set()) for path in known}
    if crash.found is not None:
        for path in known.keys() & crash.found.keys():
            entry = crash.found[path]
            if not (isinstance(entry, Valued) and entry.failed):
                own[path] = own[path] | {entry.digest}
    return {**known, **{path: known.get(path, set()) | own[path] for path in own}}


def _visible(
    runner: Runner, record: Record, state: Tree, known: Mapping[str, set[str]], crash: Crash
) -> tuple[Tree, Tree, dict[str, set[str]]]:
    """Return what readers see now and in the end, and the whole contents, by the paths that they use."""
    is_output = record.spec.is_output
    aliases = links.through(state, is_output)
    visible = {**state, **{alias: state[path] for alias, path in aliases.items()}}
    golden = {**record.final, **links.seen(record.final, is_output)}
    whole = {path: digests for path, digests in known.items() if is_output(path)}
    whole |= {alias: known.get(path, set()) for alias, path in aliases.items()}
    whole |= _under_other_names(record, state, whole)
    if record.uncompared and crash.versions is not None:
        ignored = runner.box.look(record.spec, whole=True)
        golden |= record.uncompared
        for path in record.uncompared.keys() & ignored.keys():
            visible[path] = ignored[path]
            whole[path] = known.get(path, set())
    is_settled = record.spec.is_settled
    whole = {
        path: digests
        for path, digests in whole.items()
        if not (is_settled(path) or is_settled(aliases.get(path, path)))
    }
    return visible, golden, whole


def _under_other_names(record: Record, state: Tree, whole: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the whole contents of outputs whose names differ from run to run, by their names in this one."""
    if not record.shapes:
        return {}
    alike: dict[str, set[str]] = defaultdict(set)
    for path, digests in whole.items():
        if (name := record.fold(path)) != path:
            alike[name] |= digests
    spec = record.spec
    judged = (path for path in state if spec.is_output(path) and not spec.is_settled(path))
    folded = {path: record.fold(path) for path in judged}
    return {path: alike[name] | whole.get(path, set()) for path, name in folded.items() if name in alike}


def _finding(
    runner: Runner, record: Record, path: str, visible: Tree, golden: Tree, boxes: trees.Boxes
) -> Finding:
    """Return the finding, with advice on what to declare if the program keeps the file open on purpose."""
    entry = visible[path]
    if isinstance(entry, Valued):
        what = entry.failed or "its value is not one that a run made whole"
        detail = difference_in(runner, record, path, golden, visible, boxes.here)
    else:
        what, detail = trees.described_torn(path, visible, golden, boxes)
    sentence = f"{path} is visible half-written: {what}"
    if isinstance(entry, Valued) and entry.reader == DATABASE:
        return Finding("torn-output", path, sentence, f"{detail}\n{_OF_A_DATABASE}")
    held = held_open(record.ops, path)
    if held is not None:
        sentence, detail = f"{sentence}; the program keeps it open", f"{detail}\n{held.advice}"
    return Finding("torn-output", path, sentence, detail)


def _is_prefix(part: Path, whole: Path) -> bool:
    return whole.is_file() and whole.read_bytes().startswith(part.read_bytes())
