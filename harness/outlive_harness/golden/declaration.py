"""A scenario's declaration, checked against the golden run: a part that judges nothing is an error."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path

from outlive_harness.disk.tree import Entry, Tree
from outlive_harness.judge import links
from outlive_harness.judge.acks import lost_acks
from outlive_harness.judge.sets import FileSet
from outlive_harness.judge.trees import first_difference
from outlive_harness.results.globs import matcher
from outlive_harness.results.patterns import globs
from outlive_harness.results.run_spec import BOX_VARIABLE, is_private
from outlive_harness.results.scenario import ACK_PATTERN

from .advice.cures import Cure, directory, in_words
from .record import Record, UntestableError

#: How many files a message lists.
_LISTED = 10


def check_declaration(record: Record, box: Path) -> None:
    """Check that each part of the declaration judges something of the golden run.

    Raises:
        UntestableError: a part judges nothing, or the run writes into a directory of the user's.
    """
    spec = record.spec
    why = _beside_the_box(record)
    if not why:
        record.unmet = _unmet(record)
        why = _without_effect(record)
    if why:
        raise UntestableError(why)
    if not spec.takes_acks:
        broken = lost_acks(spec, record.final, box, record.acks)
        if broken:
            raise UntestableError(f"with no fault: {broken[0].message}; a check that takes them can judge it")


def _beside_the_box(record: Record) -> str:
    """Return what the run writes into a directory of the user's, in words; "" if it writes nothing there."""
    spec = record.spec
    for given in (spec.cwd, spec.source, spec.standing):
        place = os.path.realpath(given) if given else "/"
        path = next((one for one in record.trace.outside if f"{one}/".startswith(f"{place}/")), None)
        if path is None or place == "/":
            continue
        path = os.path.relpath(path, place)
        if given == spec.cwd:
            copied = in_words(spec, [directory(spec, "input", place)])
            return (
                f"it writes {path} into {place}, where it runs and no crash state can hold it: let it write "
                f"to {{box}}, which is ${BOX_VARIABLE} too, or run a copy in each box by {copied} alone"
            )
        return (
            f"it writes {path} into {place}, a directory of yours, where no crash state can hold it: run a "
            "copy (--input DIR copies one into each box, and files below it in the command are those of the "
            "copy), or name its files by {box}"
        )
    return ""


def _without_effect(record: Record) -> str:
    """Return the part of the declaration that judges nothing, in words; "" if there is none."""
    spec = record.spec
    if spec.judge_outputs:
        if not _is_judged(record, spec.is_output):
            return _no_outputs(record)
        if not _changes_output(record):
            return _unchanged(record)
        if record.unmet:
            why = "nothing that the golden run made or left matches; correct the pattern, or leave it out"
            return f"outputs {', '.join(record.unmet)}: {why}"
    for one in map(FileSet, spec.together):
        missing = _missing(record, one)
        if missing:
            return f"together={one.text!r}: no output that the golden run found or left matches {missing}"
    if spec.acks not in ("", ACK_PATTERN) and not record.acks:  # each body has the pattern of ack()
        why = f"no line of the golden run's standard output matches acks={spec.acks!r}"
        return f"{why}; correct the pattern, or let the program flush such a line once something is stored"
    return ""


def _unmet(record: Record) -> tuple[str, ...]:
    """Return the patterns of outputs that judge nothing of the golden run."""
    spec = record.spec
    if not spec.judge_outputs:
        return ()
    if not _is_judged(record, spec.is_output) or not _changes_output(record):
        return spec.outputs or ("**",)
    return () if record.refused else tuple(one for one in spec.outputs if not _is_met(record, one))


def _changes_output(record: Record) -> bool:
    """Return whether the run changed an output, or more than outputs is judged."""
    spec = record.spec
    if spec.check or spec.acks not in ("", ACK_PATTERN) or record.acks:
        return True
    if first_difference(record.initial, record.final, spec.is_output) is not None:
        return True
    return any(record.is_shown(path) for op in record.ops for path in op.paths if path)


def _unchanged(record: Record) -> str:
    changed = ", ".join(dict.fromkeys(op.path for op in record.ops)) or "no file"
    files = [path for op in record.ops for path in op.paths if _is_file(record.final, path)]
    hint = _proposal(record, files) or "let it make them in the box, and leave them out of its input"
    return f"it makes and changes no output, so no crash can show in one: it changes {changed}; {hint}"


def _is_file(tree: Tree, path: str) -> bool:
    return path in tree and _is_listed(path, tree[path])


def _proposal(record: Record, files: Collection[str]) -> str:
    """Return which outputs to name, as the user would write them; "" if there are no files."""
    found = globs(sorted(set(files)), ()) if files else []
    return (
        f"name what readers see, as {in_words(record.spec, [Cure('outputs', one) for one in found])}"
        * bool(found)
    )


def _is_judged(record: Record, is_output: Callable[[str], bool]) -> bool:
    """Return whether the golden run left an output: a file, or a directory with no other files."""
    others = {path for path, entry in record.final.items() if entry.kind != "dir" and not is_output(path)}
    return bool(links.through(record.final, is_output)) or any(
        entry.kind != "dir" or not any(other.startswith(f"{path}/") for other in others)
        for path, entry in record.final.items()
        if is_output(path)
    )


def _is_met(record: Record, pattern: str) -> bool:
    """Return whether a pattern of outputs matches a judged path, or one that existed for a time."""
    matches = matcher([pattern])
    if _is_judged(record, lambda path: matches(path) and record.spec.is_output(path)):
        return True
    passing = {name for op in record.ops if not op.traits.about_directory for name in (op.path, op.target)}
    before = {path for path, entry in record.initial.items() if entry.kind != "dir"}
    return any(map(matches, passing | before))


def _missing(record: Record, one: FileSet) -> str:
    """Return the pattern of a set that matches no output; "" if there is none."""
    found = {path for tree in (record.initial, record.final) for path in one.found(tree, record.is_in_sets)}
    for pattern in filter(None, (one.mark, one.files)):
        if not any(map(matcher([pattern]), found)):
            return pattern
    return ""


def _no_outputs(record: Record) -> str:
    patterns = ", ".join(record.spec.outputs) or "**"
    files = [path for path, entry in record.final.items() if _is_listed(path, entry)]
    left = ", ".join(sorted(files)[:_LISTED]) or "no files at all"
    outside = (
        "; it wrote outside its box: " + ", ".join(record.trace.outside[:5]) if record.trace.outside else ""
    )
    hint = _proposal(record, files) or "let it write to its working directory, or to {box}"
    return f"outputs {patterns} match nothing that the golden run left; it left {left}{outside}; {hint}"


def _is_listed(path: str, entry: Entry) -> bool:
    return entry.kind == "file" and not is_private(path)
