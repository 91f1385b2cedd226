"""A proposal of a scenario for a command that was observed: its outputs, its checkpoints, what varies.

Nothing is run here: an observation goes in, a proposal comes out. Every guess has its reason, which the
scenario file repeats so that a person can correct it.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from outlive_harness.golden.observe import Observation
from outlive_harness.results.globs import common_ends, matcher
from outlive_harness.results.patterns import below, globs, literal, undated
from outlive_harness.results.scenario import ScenarioError

from .absent import and_above
from .cures import Cure
from .guesses import UNSTEADY, Guess, Guesses, Kind, guess_all, set_aside, shown

#: Seconds: for a longer run a time limit is proposed, so many times as long.
_LONG, _TIMES = 6.0, 5
#: How many files that vary are named one by one.
_MOST_NAMED = 20


@dataclass(slots=True)
class Proposal:
    """What a scenario may declare: patterns, most of them with a reason.

    Attributes:
        outputs: patterns of the files to compare.
        files: how many files they match.
        how: how those files were written.
        append_only: patterns of outputs to which whole lines are appended.
        ignore: files that no check needs to look at.
        checkpoints: files by which the command seems to know what is done.
        apart: other files that are no outputs; they are kept, because a recovery may read them.
        notes: further remarks.
        timeout: seconds of one run; None for the usual limit.
        cures: readers and masks by which outputs are equal from run to run.
    """

    outputs: list[str] = field(default_factory=list)
    files: int = 0
    how: str = ""
    append_only: list[str] = field(default_factory=list)
    ignore: list[tuple[str, str]] = field(default_factory=list)
    checkpoints: list[tuple[str, str]] = field(default_factory=list)
    apart: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    timeout: int | None = None
    cures: list[Cure] = field(default_factory=list)


def propose(seen: Observation) -> Proposal:
    """Return a proposal for an observed command.

    Raises:
        ScenarioError: the command made nothing that could be compared; the message says what it did make.
    """
    guesses = guess_all(seen)
    outputs = sorted(path for path, guess in guesses.items() if guess.kind is Kind.OUTPUT)
    if not outputs:  # all files look like markers: then these are the result
        outputs = sorted(
            path for path, guess in guesses.items() if guess.kind is Kind.CHECKPOINT and not guess.varies
        )
        for path in outputs:
            guesses.pop(path)
    _require(seen, outputs, guesses)
    others = {path for path in guesses if path not in outputs}
    unchanged = {path for path in seen.initial if seen.first.get(path) == seen.initial[path]}
    patterns = undated(globs(outputs, others, unchanged), others)
    made = Proposal(patterns, len(outputs), _how(seen, outputs), cures=list(seen.cures))
    lines = sorted(path for path in outputs if path in seen.by_line)
    made.append_only = undated(globs(lines, set(outputs) - set(lines) | others), others)
    _set_apart(made, seen, guesses, outputs)
    _judge_partly(made, seen, guesses)
    made.notes = _notes(seen, outputs)
    if seen.seconds > _LONG:
        made.timeout = math.ceil(_TIMES * seen.seconds)
    return made


def _set_apart(made: Proposal, seen: Observation, guesses: Guesses, outputs: Collection[str]) -> None:
    """Add the files that are no outputs to a proposal, by patterns that match no output."""
    is_matched = matcher(made.outputs)
    whole = set_aside(guesses)
    made.ignore += [(f"{below(directory)}**", why) for directory, why in sorted(whole.items())]
    is_whole = matcher(f"{below(directory)}**" for directory in whole)
    others = {path for path in guesses.keys() - set(outputs) if not is_whole(path)}
    places = {
        Kind.CHECKPOINT: made.checkpoints,
        Kind.IGNORED: made.ignore,
        Kind.APART: made.apart,
    }
    for kind, several in places.items():
        alike: dict[tuple[Guess, bool], list[str]] = defaultdict(list)
        for path in sorted(others):
            if guesses[path].kind is kind:
                alike[guesses[path], kind is not Kind.IGNORED and is_matched(path)].append(path)
        for (guess, is_matched_too), paths in alike.items():
            why = guess.why + "; the outputs' patterns match it, too" * is_matched_too
            patterns = patterns_of(paths, set(outputs) | (others - set(paths)), seen)
            several += [(pattern, why) for pattern in patterns]
            # A file that stays the same is then compared; one that varies must be ignored.
            if is_matched_too and guess.varies:
                made.ignore += [(pattern, why) for pattern in patterns]


def _judge_partly(made: Proposal, seen: Observation, guesses: Guesses) -> None:
    """Name files that vary as outputs, and ignore them: only whether they are half-written is then judged."""
    several = [
        path
        for path, guess in sorted(guesses.items())
        if guess.is_unsteady and path in seen.first and path in seen.second
        if path not in seen.by_line and seen.first[path].kind == "file"
    ]
    is_named = set(several[:_MOST_NAMED])
    named = {
        pattern: None
        for path in several[:_MOST_NAMED]
        for pattern in undated([literal(path)], guesses.keys() - is_named)
    }
    made.outputs += [one for one in named if one not in made.outputs]
    is_literal = set(map(literal, several))
    made.ignore = [one for one in made.ignore if one[0] not in is_literal]
    made.ignore += [(one, f"{UNSTEADY} It is judged whether it is seen half-written") for one in named]
    made.apart = [one for one in made.apart if not _are_all(one[0], seen, is_named)]


def _are_all(pattern: str, seen: Observation, named: Collection[str]) -> bool:
    """Return whether a pattern matches nothing but files that are named one by one."""
    found = set(filter(matcher([pattern]), {*seen.first, *seen.second}))
    return bool(found) and found <= set(named)


def _require(seen: Observation, outputs: Collection[str], guesses: Guesses) -> None:
    if outputs:
        return
    if not guesses:
        outside = "; it wrote outside its box: " + _listed(seen.outside) if seen.outside else ""
        raise ScenarioError(f"it leaves no files in its box, so there is nothing to compare{outside}")
    files = _listed([f"{path} ({guess.why})" for path, guess in sorted(guesses.items())])
    raise ScenarioError(
        f"it leaves no file that could be compared: {files}; fix its clock and its seed, or write a "
        "scenario whose check judges them"
    )


def _how(seen: Observation, outputs: Collection[str]) -> str:
    """Return in words how the outputs were written."""
    installed = {op.target for op in seen.ops if op.traits.installs}
    whole = sum(1 for path in outputs if not installed.isdisjoint(and_above(path)) or path in seen.by_line)
    files = f"{len(outputs)} file{'s' * (len(outputs) != 1)}"
    if seen.refused or not seen.ops:
        return files
    if whole == len(outputs):
        return f"{files}, put in place whole"
    if not whole:
        return f"{files}, written in place"
    return f"{files}, {whole} of them put in place whole"


def _notes(seen: Observation, outputs: Collection[str]) -> list[str]:
    notes = []
    if seen.outside:
        notes.append(f"Written outside the box, where no crash state can hold it: {_listed(seen.outside)}.")
    notes += [f"Out of sight: {reason}." for reason in dict.fromkeys(seen.blind)]
    if seen.refused:
        notes.append(f"Seen by what is left alone; {seen.refused}.")
    changed = [path for path in outputs if seen.again.get(path) != seen.first.get(path)]
    if seen.again_failure:
        notes.append(f"Run again on its own result, with no crash, it {seen.again_failure}.")
    elif changed:
        notes.append(f"Run again on its own result, with no crash, it changes {_listed(changed)}.")
    return notes


def _listed(names: Collection[str], most: int = 3) -> str:
    listed = [shown(name) for name in list(names)[:most]]
    more = len(names) - len(listed)
    return ", ".join(listed) + (f" and {more} more" if more else "")


def patterns_of(paths: Collection[str], others: Collection[str], seen: Observation) -> list[str]:
    """Return patterns of files; a name that only one run uses stands for similar names of other runs."""
    fixed = [path for path in paths if path in seen.first and path in seen.second]
    patterns = globs(fixed, others)
    random = sorted({_unstable(path, seen) for path in paths if path not in fixed})
    for path in random:
        pattern = _like(path, random)
        is_wide = any(map(matcher([pattern]), others))
        patterns.append(literal(path) if is_wide else pattern)
    return undated(patterns, others)


def _unstable(path: str, seen: Observation) -> str:
    """Return the first part of a path that only one run has; a directory with a slash at its end."""
    parts = path.split("/")
    for depth in range(1, len(parts)):
        above = "/".join(parts[:depth])
        if above not in seen.first or above not in seen.second:
            return f"{above}/"
    return path


def _like(path: str, several: Collection[str]) -> str:
    """Return a pattern of a name with a star for its random part."""
    end = "/" if path.endswith("/") else ""
    directory, name = os.path.split(path.rstrip("/"))
    best = ("." * name.startswith("."), "")
    for other in several:
        where, like = os.path.split(other.rstrip("/"))
        if other == path or where != directory:
            continue
        ends = common_ends(name, like)
        best = max(best, ends, key=lambda pair: len(pair[0]) + len(pair[1]))
    return f"{below(directory)}{literal(best[0])}*{literal(best[1])}{end}"
