"""Truth 1 at a crash state: no reader ever sees partial content under an output's name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from outlive_harness.disk.tree import Tree
from outlive_harness.golden.record import Record
from outlive_harness.judge import links, trees
from outlive_harness.judge.held_open import held_open
from outlive_harness.results.findings import Finding
from outlive_harness.world.runner import Runner

from .crash import Crash
from .mixed_sets import mixed_sets


def partial_outputs(runner: Runner, record: Record, state: Tree, crash: Crash) -> list[Finding]:
    """Return a finding for each output in the box that is visible half-written, or beside another version."""
    known = _whole_contents(record, crash)
    visible, golden, whole = _visible(runner, record, state, known, crash)
    found = trees.torn_outputs(
        visible,
        golden,
        whole,
        trees.Boxes(runner.box.path, record.golden, record.template, runner.box.own),
        record.spec.is_append_only,
    )
    if record.refused:
        # Without ops, whole contents that were replaced later are unknown; a strict prefix is partial anyway.
        found = [one for one in found if _is_prefix(runner.box.path / one[0], record.golden / one[0])]
    return [*(_finding(record, *one) for one in found), *mixed_sets(record, state, crash.found)]


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
            own[path] = own[path] | {crash.found[path].digest}
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


def _finding(record: Record, path: str, sentence: str, detail: str) -> Finding:
    """Return the finding, with advice on what to declare if the program keeps the file open on purpose."""
    held = held_open(record.ops, path)
    if held is not None:
        sentence, detail = f"{sentence}; the program keeps it open", f"{detail}\n{held.advice}"
    return Finding("torn-output", path, sentence, detail)


def _is_prefix(part: Path, whole: Path) -> bool:
    return whole.is_file() and whole.read_bytes().startswith(part.read_bytes())
