"""A scenario's declaration compared with the golden run: a part that judges nothing is an error."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from outlive_harness.disk.tree import Entry
from outlive_harness.judge import links
from outlive_harness.judge.acks import lost_acks
from outlive_harness.judge.trees import first_difference
from outlive_harness.results.globs import matcher
from outlive_harness.results.run_spec import is_private
from outlive_harness.results.scenario import ACK_PATTERN

from .record import Record, UntestableError

#: Files that a message lists.
_LISTED = 10


def demand_meaning(made: Record, box: Path) -> None:
    """Compare what is declared with what the golden run did.

    Raises:
        UntestableError: something that is declared judges nothing, or the run writes where the user's files
            are.
    """
    spec = made.spec
    why = _beside_the_box(made) or _without_effect(made)
    if why:
        raise UntestableError(why)
    if not spec.check_takes_acks:
        broken = lost_acks(spec, made.final, box, made.acks)
        if broken:
            raise UntestableError(f"with no fault: {broken[0].message}; a check that takes them can judge")


def _beside_the_box(made: Record) -> str:
    """Say what the run writes where the user keeps files; "" if it writes nothing there."""
    spec = made.spec
    kept = [os.path.realpath(place) for place in (spec.source, spec.standing) if place]
    for path in made.trace.outside:
        for place in kept:
            if place != "/" and f"{path}/".startswith(f"{place}/"):
                return (
                    f"it writes {os.path.relpath(path, place)} into {place}, a directory of yours, where no "
                    "crash state can hold it: run a copy (--input DIR copies one into each box, and files "
                    "below it in the command are those of the copy), or name its files by {box}"
                )
    return ""


def _without_effect(made: Record) -> str:
    """Say which part of the declaration judges nothing; "" if none."""
    spec = made.spec
    if spec.judge_outputs:
        if not _is_judged(made, spec.is_output):
            return _no_outputs(made)
        if not _changes_output(made):
            return _unchanged(made)
        unmet = [] if made.refused else [one for one in spec.outputs if not _is_met(made, one)]
        if unmet:
            return f"outputs {', '.join(unmet)}: nothing that the golden run made or left matches"
    if spec.acks not in ("", ACK_PATTERN) and not made.acks:  # each body has the pattern of ack()
        return f"no line of the golden run's standard output matches acks={spec.acks!r}"
    return ""


def _changes_output(made: Record) -> bool:
    """Return whether the run did anything to an output, or something else than outputs is judged as well."""
    spec = made.spec
    if spec.check or spec.acks not in ("", ACK_PATTERN) or made.acks:
        return True
    if first_difference(made.initial, made.final, spec.is_output) is not None:
        return True
    return any(made.is_shown(path) for op in made.ops for path in op.paths if path)


def _unchanged(made: Record) -> str:
    changed = ", ".join(dict.fromkeys(op.path for op in made.ops)) or "no file"
    return f"it makes and changes no output, so no crash could show: it changes {changed}"


def _is_judged(made: Record, is_output: Callable[[str], bool]) -> bool:
    """Return whether the golden run left an output: a file, or a directory in which all files are outputs."""
    others = {path for path, entry in made.final.items() if entry.kind != "dir" and not is_output(path)}
    return bool(links.through(made.final, is_output)) or any(
        entry.kind != "dir" or not any(other.startswith(f"{path}/") for other in others)
        for path, entry in made.final.items()
        if is_output(path)
    )


def _is_met(made: Record, pattern: str) -> bool:
    """Return whether one of the patterns of outputs matches what is judged, or what was there for a time."""
    matches = matcher([pattern])
    if _is_judged(made, lambda path: matches(path) and made.spec.is_output(path)):
        return True
    passing = {name for op in made.ops if not op.traits.about_directory for name in (op.path, op.target)}
    before = {path for path, entry in made.initial.items() if entry.kind != "dir"}
    return any(map(matches, passing | before))


def _no_outputs(made: Record) -> str:
    patterns = ", ".join(made.spec.outputs) or "**"
    files = [path for path, entry in made.final.items() if _is_listed(path, entry)]
    left = ", ".join(sorted(files)[:_LISTED]) or "no files at all"
    outside = "; it wrote outside its box: " + ", ".join(made.trace.outside[:5]) if made.trace.outside else ""
    return f"outputs {patterns} match nothing that the golden run left; it left {left}{outside}"


def _is_listed(path: str, entry: Entry) -> bool:
    return entry.kind == "file" and not is_private(path)
