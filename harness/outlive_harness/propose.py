"""What a scenario can say of a command that was watched: its outputs, its checkpoints, what varies.

Nothing is run here: an observation goes in, a proposal comes out. Every guess carries its reason, which the
file that is written repeats, so that a person can correct it.
"""

from __future__ import annotations

import bisect
import errno
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from .disk.tree import Tree
from .globs import common_ends, matcher
from .patterns import below, globs, literal
from .scenario import ScenarioError
from .trace import INSTALLS, Op

#: Directories of the box that no output is in: TMPDIR and HOME.
_PRIVATE = (".tmp/", ".home/")
#: Bytes of a file that can be a marker or a state, and not the result itself.
_SMALL = 4096
#: Seconds of a run from which a limit is proposed, and how many times a run it is.
_LONG, _TIMES = 6.0, 5

_MARKER = re.compile(
    r"_(SUCCESS|DONE|COMMITTED)|\.?(done|success|completed?|finished|ready)"
    r"|.+\.(done|ok|success|completed?|finished|marker|stamp|ckpt|checkpoint|offsets?)"
    r"|(\.|.+[._-])?(state|checkpoint|progress|offsets?|cursor)(\.(json|txt|ya?ml|pkl))?"
)
_MARKERS = re.compile(r"[._]?(checkpoints?|ckpts?|state|markers?)")
#: (what it seems to be, names of files, names of directories)
_SEEMS = (
    ("a cache", re.compile(r".+\.py[co]"), re.compile(r"__pycache__|\.?cache|\..+_cache")),
    ("a log", re.compile(r".+\.log(\.[0-9]+)?|nohup\.out"), re.compile(r"\.?logs?")),
    ("a lock", re.compile(r"\.?lock|.+[.-](lock|lck)|.+\.pid"), re.compile(r"\.?locks?")),
    ("a temporary", re.compile(r".+\.(te?mp|part|swp)|.+~|\.?tmp.*"), re.compile(r"\.?te?mp")),
)
_IGNORED = ("a cache", "a log")
_VARIES = "differs between two runs"
_UNSTEADY = f"{_VARIES}: a time, a random number?"
#: Files that differ from run to run that are named one by one.
_MOST_NAMED = 20


@dataclass(slots=True)
class Observed:
    """What was seen of a command in runs that no fault struck.

    Attributes:
        initial: the files before the first run.
        first: the files after it.
        again: the files after one more run, on the result of the first.
        second: the files after a run from scratch, at another second.
        ops: the first run's.
        by_line: files that were appended to by whole lines.
        looked: paths in the box that the first run opened to read, or tried to.
        outside: files outside the box that it wrote.
        blind: what was out of sight.
        seconds: wall time of the longer run from scratch.
        failure: how it failed; "" if it did not.
        stderr: what it said.
        again_failure: how the run on the first one's result failed.
        refused: why calls could not be intercepted; "" if they were.
    """

    initial: Tree = field(default_factory=dict)
    first: Tree = field(default_factory=dict)
    again: Tree = field(default_factory=dict)
    second: Tree = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    by_line: set[str] = field(default_factory=set)
    looked: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    blind: list[str] = field(default_factory=list)
    seconds: float = 0.0
    failure: str = ""
    stderr: str = ""
    again_failure: str = ""
    refused: str = ""


@dataclass(slots=True)
class Proposal:
    """What a scenario may say; of patterns, each with its reason.

    Attributes:
        outputs: patterns of the files to compare.
        files: how many files they are.
        how: how they came to be there.
        append_only: patterns of those that are appended to by whole lines.
        ignore: files that no check is to look at.
        checkpoints: files by which the command seems to know what is done.
        apart: other files that are no outputs; they are seen, since a recovery may read them.
        notes: what else is to be known.
        timeout: seconds of one run; None for the usual limit.
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


def missing_inputs(seen: Observed, exists: Callable[[str], bool]) -> list[str]:
    """Return what the command looked for in its box, that is not there but where the user is.

    What it makes itself is no input, nor is what tells it how far an earlier run of the user's came.
    """
    made = {path for op in seen.ops for path in (op.path, op.target) if path}
    wanted = [
        path
        for path in dict.fromkeys([*seen.looked, *_lamented(seen.stderr)])
        if path != "." and not path.startswith(("../", *_PRIVATE)) and path not in seen.initial
        if made.isdisjoint(_and_above(path))
        if not _by_name(path) and not _is_marker(path) and exists(path)
    ]
    # A directory that was listed stands for what was read below it.
    several = set(wanted)
    return [path for path in wanted if several.isdisjoint(_and_above(path)[1:])]


def _and_above(path: str) -> list[str]:
    """Return a path, and those of the directories that it is in."""
    paths = [path]
    while "/" in path:
        path = path.rpartition("/")[0]
        paths.append(path)
    return paths


def _lamented(said: str) -> list[str]:
    """Return words of messages that something is not there: a stat or an access is no op, nor an open."""
    lines = [line for line in said.splitlines() if os.strerror(errno.ENOENT) in line]
    words = (word for line in lines for word in re.split(r"[\s:,;()'\"`\u2018\u2019]+", line))
    return [os.path.normpath(word) for word in words if word and not word.startswith("/")]


def propose(seen: Observed) -> Proposal:
    """Make a proposal of what was seen.

    Raises:
        ScenarioError: the command made nothing that could be compared; the message says what it did make.
    """
    reasons = _kinds(seen)
    outputs = sorted(path for path, (kind, _) in reasons.items() if kind == "output")
    if not outputs:  # all that it leaves looks like markers: then these are what it is for
        outputs = sorted(
            path for path, (kind, why) in reasons.items() if kind == "checkpoint" and _VARIES not in why
        )
        for path in outputs:
            reasons.pop(path)
    _require(seen, outputs, reasons)
    others = {path for path in reasons if path not in outputs}
    unchanged = {path for path in seen.initial if seen.first.get(path) == seen.initial[path]}
    made = Proposal(globs(outputs, others, unchanged), len(outputs), _how(seen, outputs))
    lines = sorted(path for path in outputs if path in seen.by_line)
    made.append_only = globs(lines, set(outputs) - set(lines) | others)
    _set_apart(made, seen, reasons, outputs)
    _judge_partly(made, seen, reasons)
    made.notes = _notes(seen, outputs)
    if seen.seconds > _LONG:
        made.timeout = math.ceil(_TIMES * seen.seconds)
    return made


def _set_apart(
    made: Proposal, seen: Observed, reasons: dict[str, tuple[str, str]], outputs: Collection[str]
) -> None:
    """Say of what is no output what it is, by patterns that match no output."""
    is_matched = matcher(made.outputs)
    others = reasons.keys() - set(outputs)
    for kind, several in (("checkpoint", made.checkpoints), ("ignore", made.ignore), ("apart", made.apart)):
        by_reason: dict[str, list[str]] = defaultdict(list)
        for path in sorted(others):
            what, why = reasons[path]
            if what == kind:
                too = what != "ignore" and is_matched(path)
                by_reason[why + "; the outputs' patterns match it, too" * too].append(path)
        for why, paths in by_reason.items():
            patterns = _patterns(paths, set(outputs) | (others - set(paths)), seen)
            several += [(pattern, why) for pattern in patterns]
            # What stays the same is compared, then. What varies is left out, and no longer seen at all.
            if kind != "ignore" and _VARIES in why and any(map(is_matched, paths)):
                made.ignore += [(pattern, why) for pattern in patterns]


def _judge_partly(made: Proposal, seen: Observed, reasons: dict[str, tuple[str, str]]) -> None:
    """Have files that differ from run to run judged for being half-written: outputs by name, and ignored."""
    several = [
        literal(path)
        for path, (kind, why) in sorted(reasons.items())
        if (kind, why) == ("apart", _UNSTEADY) and path in seen.first and path in seen.second
        if path not in seen.by_line and seen.first[path].kind == "file"
    ]
    made.outputs += several[:_MOST_NAMED]
    made.ignore = [one for one in made.ignore if one[0] not in several]
    for pattern in several[:_MOST_NAMED]:
        made.ignore.append((pattern, f"{_UNSTEADY} It is judged whether it is seen half-written"))
    named = set(several[:_MOST_NAMED])
    made.apart = [one for one in made.apart if one[1] != _UNSTEADY or not _are_all(one[0], seen, named)]


def _are_all(pattern: str, seen: Observed, named: Collection[str]) -> bool:
    """Tell whether a pattern stands for nothing else than files that are named by themselves."""
    return {literal(path) for path in filter(matcher([pattern]), {*seen.first, *seen.second})} <= set(named)


class _History:
    """When in the first run what was made got its content.

    Args:
        ops: the run's.
        made: the files that it left.
    """

    def __init__(self, ops: Sequence[Op], made: Collection[str]) -> None:
        self._begun: dict[str, list[int]] = defaultdict(list)
        self._changes: list[tuple[int, str]] = []
        self.journalled: set[str] = set()
        for number, op in enumerate(ops):
            path = op.target if op.kind in INSTALLS else op.path
            if op.kind in ("mknod", *INSTALLS) or (op.kind == "open" and not op.flags & os.O_APPEND):
                self._begun[path].append(number)
            if path in made and (op.kind in INSTALLS or op.kind == "write"):
                self._changes.append((number, path))
            for ending in ("-journal", "-wal"):
                if path.endswith(ending):
                    self.journalled.add(path.removesuffix(ending))

    def late(self, path: str, size: int) -> str:
        """Say what a small file was written after, if that makes it a marker; "" if it does not."""
        begun = self._begun.get(path)
        if not begun:
            return ""
        first, last = (bisect.bisect_left(self._changes, (number, "")) for number in (begun[0], begun[-1]))
        before = self._changes[first - 1][1] if first else ""
        if size == 0 and before:
            return f"empty, and made after {shown(before)}"
        between = next((other for _, other in self._changes[first:last] if other != path), "")
        return f"small, and written anew after {shown(between)}" if between else ""


def _kinds(seen: Observed) -> dict[str, tuple[str, str]]:
    """Return of each file that the command leaves what it is, and why it seems so."""
    made = {
        path
        for tree in (seen.first, seen.second)
        for path, entry in tree.items()
        if entry.kind in ("file", "link") and entry != seen.initial.get(path)
        if not path.startswith(_PRIVATE)
    }
    history = _History(seen.ops, made)
    return {path: _kind(path, seen, history) for path in made}


def _kind(path: str, seen: Observed, history: _History) -> tuple[str, str]:
    varies = seen.first.get(path) != seen.second.get(path)
    seems = _by_name(path)
    grows = seen.again.get(path) != seen.first.get(path)
    if seems == "a log" and path in seen.by_line and not varies and not grows:
        seems = ""  # whoever resumes it at its end, and adds nothing that is there, keeps data in it
    if path in history.journalled:
        return "apart", "a database with a journal, for a check to read"
    if seems in _IGNORED:
        return "ignore", f"{seems}, that {_VARIES}" if varies else f"{seems}, by its name"
    marker = "" if seems else _marker(path, seen, history)
    if marker:
        return "checkpoint", f"{marker}; {_VARIES}" if varies else marker
    if varies:
        return "apart", f"{seems}, that {_VARIES}" if seems else _UNSTEADY
    return ("apart", f"{seems}, by its name") if seems else ("output", "")


def _by_name(path: str) -> str:
    """Say what a file seems to be by its name; "" for nothing in particular."""
    *above, name = path.split("/")
    for what, names, directories in _SEEMS:
        if names.fullmatch(name) or any(map(directories.fullmatch, above)):
            return what
    return ""


def _marker(path: str, seen: Observed, history: _History) -> str:
    """Say why a file seems to be a checkpoint; "" if it does not."""
    entry = seen.first.get(path) or seen.second[path]
    for directory in path.split("/")[:-1]:
        if _MARKERS.fullmatch(directory):
            return f"below {shown(directory)}/"
    if entry.size > _SMALL or entry.kind != "file":
        return ""
    if _is_marker(path):
        return "small, and named like a marker or a state"
    return "" if path in seen.by_line else history.late(path, entry.size)


def _is_marker(path: str) -> bool:
    *above, name = path.split("/")
    return bool(_MARKER.fullmatch(name)) or any(map(_MARKERS.fullmatch, above))


def _require(seen: Observed, outputs: Collection[str], reasons: dict[str, tuple[str, str]]) -> None:
    if outputs:
        return
    if not reasons:
        outside = "; it wrote outside its box: " + _listed(seen.outside) if seen.outside else ""
        raise ScenarioError(f"it leaves no files in its box, so there is nothing to compare{outside}")
    told = _listed([f"{path} ({why})" for path, (_, why) in sorted(reasons.items())])
    raise ScenarioError(
        f"it leaves no file that could be compared: {told}; fix its clock and its seed, or write a "
        "scenario whose check judges them"
    )


def _how(seen: Observed, outputs: Collection[str]) -> str:
    """Say how the outputs came to be there."""
    installed = {op.target for op in seen.ops if op.kind in INSTALLS}
    whole = sum(1 for path in outputs if not installed.isdisjoint(_and_above(path)) or path in seen.by_line)
    files = f"{len(outputs)} file{'s' * (len(outputs) != 1)}"
    if seen.refused or not seen.ops:
        return files
    if whole == len(outputs):
        return f"{files}, put in place whole"
    if not whole:
        return f"{files}, written in place"
    return f"{files}, {whole} of them put in place whole"


def _notes(seen: Observed, outputs: Collection[str]) -> list[str]:
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


def shown(text: str) -> str:
    """Return a text in one line of ASCII, for a comment."""
    plain = in_ascii(text)
    return plain if len(plain) <= 160 else f"{plain[:157]}..."


def in_ascii(text: str) -> str:
    """Return a text with all but the printable characters of ASCII escaped."""
    return "".join(char if " " <= char <= "~" else ascii(char)[1:-1] for char in text)


def _patterns(paths: Collection[str], others: Collection[str], seen: Observed) -> list[str]:
    """Return patterns of files; a name that one run alone uses stands for the like of other runs."""
    fixed = [path for path in paths if path in seen.first and path in seen.second]
    patterns = globs(fixed, others)
    random = sorted({_unstable(path, seen) for path in paths if path not in fixed})
    for path in random:
        pattern = _like(path, random)
        is_wide = any(map(matcher([pattern]), others))
        patterns.append(literal(path) if is_wide else pattern)
    return list(dict.fromkeys(patterns))


def _unstable(path: str, seen: Observed) -> str:
    """Return the first part of a path that one run alone has; a directory with a slash at its end."""
    parts = path.split("/")
    for depth in range(1, len(parts)):
        above = "/".join(parts[:depth])
        if above not in seen.first or above not in seen.second:
            return f"{above}/"
    return path


def _like(path: str, several: Collection[str]) -> str:
    """Return a pattern of a name with its random part left open."""
    end = "/" if path.endswith("/") else ""
    directory, name = os.path.split(path.rstrip("/"))
    best = ("", "")
    for other in several:
        where, like = os.path.split(other.rstrip("/"))
        if other == path or where != directory:
            continue
        ends = common_ends(name, like)
        best = max(best, ends, key=lambda pair: len(pair[0]) + len(pair[1]))
    return f"{below(directory)}{literal(best[0])}*{literal(best[1])}{end}"
