"""Guesses: what each file that an observed command leaves seems to be, and why."""

from __future__ import annotations

import bisect
import enum
import os
import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from outlive_harness.golden.observe import Observation
from outlive_harness.results.ops import Op
from outlive_harness.results.reader_names import JOURNALS
from outlive_harness.results.run_spec import is_private
from outlive_harness.world.reading import Valued

from .habits import habit_of, top_of

#: Bytes: a larger file is no marker and no state.
_SMALL = 4096
_MARKER = re.compile(
    r"_(SUCCESS|DONE|COMMITTED)|\.?(done|success|completed?|finished|ready)"
    r"|.+\.(done|ok|success|completed?|finished|marker|stamp|ckpt|checkpoint|offsets?)"
    r"|(\.|.+[._-])?(state|checkpoint|progress|offsets?|cursor)(\.(json|txt|ya?ml|pkl))?"
)
_MARKERS = re.compile(r"[._]?(checkpoints?|ckpts?|state|markers?)")


_VARIES = "differs between two runs"
UNSTEADY = f"{_VARIES}: a time, a random number?"


class Kind(enum.Enum):
    """What a file that the command leaves is proposed as."""

    OUTPUT = enum.auto()
    CHECKPOINT = enum.auto()
    IGNORED = enum.auto()
    APART = enum.auto()


class Guess(NamedTuple):
    """The guess for one file.

    Attributes:
        kind: what it is proposed as.
        why: the reason, for people; "" for an output.
        varies: whether it differs between two runs.
        has_habit: whether its name or its use shows what it is.
    """

    kind: Kind
    why: str = ""
    varies: bool = False
    has_habit: bool = True

    @property
    def is_unsteady(self) -> bool:
        """Whether it is no output only because it varies."""
        return self.kind is Kind.APART and self.varies and not self.has_habit


Guesses = dict[str, Guess]


class _History:
    """When in the first run each file got its content.

    Args:
        ops: the ops of the run.
        made: the files that it left.
    """

    def __init__(self, ops: Sequence[Op], made: Collection[str]) -> None:
        self._begun: dict[str, list[int]] = defaultdict(list)
        self._changes: list[tuple[int, str]] = []
        self.journalled: set[str] = set()
        for number, op in enumerate(ops):
            path = op.target if op.traits.installs else op.path
            if op.kind == "mknod" or op.traits.installs or (op.kind == "open" and not op.flags & os.O_APPEND):
                self._begun[path].append(number)
            changes = op.traits.installs or op.kind == "write"
            if changes and path in made and habit_of(path) is None:  # a lock is no step
                self._changes.append((number, path))
            for ending in JOURNALS:
                if path.endswith(ending):
                    self.journalled.add(path.removesuffix(ending))

    def late(self, path: str, size: int) -> str:
        """Return why the time of its writing makes a small file a marker; "" if it does not."""
        begun = self._begun.get(path)
        if not begun:
            return ""
        first, last = (bisect.bisect_left(self._changes, (number, "")) for number in (begun[0], begun[-1]))
        before = self._changes[first - 1][1] if first else ""
        if size == 0 and before:
            return f"empty, and made after {shown(before)}"
        between = next((other for _, other in self._changes[first:last] if other != path), "")
        return f"small, and written anew after {shown(between)}" if between else ""


def guess_all(seen: Observation) -> Guesses:
    """Return a guess for each file that the command leaves."""
    made = {
        path
        for tree in (seen.first, seen.second)
        for path, entry in tree.items()
        if entry.kind in ("file", "link") and entry != seen.initial.get(path)
        if not is_private(path)
    }
    history = _History(seen.ops, made)
    return {path: _guess(path, seen, history) for path in made}


def _guess(path: str, seen: Observation, history: _History) -> Guess:
    varies = seen.first.get(path) != seen.second.get(path)
    habit = habit_of(path)
    grows = seen.again.get(path) != seen.first.get(path)
    if habit is not None and habit.is_log and path in seen.by_line and not varies and not grows:
        habit = None  # a program that resumes at its end, and adds no line twice, keeps data in it
    if path in history.journalled and not isinstance(seen.first.get(path), Valued):
        return Guess(Kind.APART, "a database with a journal, for a check to read", varies)
    if habit is not None:
        why = f"{habit.what}, that {_VARIES}" if varies else f"{habit.what}, by its name"
        return Guess(Kind.IGNORED if habit.is_ignored else Kind.APART, why, varies)
    marker = _marker(path, seen, history)
    if marker:
        return Guess(Kind.CHECKPOINT, f"{marker}; {_VARIES}" if varies else marker, varies)
    return Guess(Kind.APART, UNSTEADY, varies, has_habit=False) if varies else Guess(Kind.OUTPUT)


def set_aside(guesses: Guesses) -> dict[str, str]:
    """Return the directories, named like caches or logs, that hold ignored files only; and for each why."""
    tops = dict(
        found for path, guess in guesses.items() if guess.kind is Kind.IGNORED for found in top_of(path)
    )
    kept = [path for path, guess in guesses.items() if guess.kind is not Kind.IGNORED]
    return {top: why for top, why in tops.items() if not any(path.startswith(f"{top}/") for path in kept)}


def _marker(path: str, seen: Observation, history: _History) -> str:
    """Return why a file seems to be a checkpoint; "" if it does not."""
    entry = seen.first.get(path) or seen.second[path]
    for directory in path.split("/")[:-1]:
        if _MARKERS.fullmatch(directory):
            return f"below {shown(directory)}/"
    if entry.size > _SMALL or entry.kind != "file":
        return ""
    if is_marker(path):
        return "small, and named like a marker or a state"
    return "" if path in seen.by_line else history.late(path, entry.size)


def is_marker(path: str) -> bool:
    """Return whether a path has the name of a marker or a state."""
    *above, name = path.split("/")
    return bool(_MARKER.fullmatch(name)) or any(map(_MARKERS.fullmatch, above))


def shown(text: str) -> str:
    """Return a text as one short line of ASCII, for a comment."""
    plain = in_ascii(text)
    return plain if len(plain) <= 160 else f"{plain[:157]}..."


def in_ascii(text: str) -> str:
    """Return a text with every character but printable ASCII escaped."""
    return "".join(char if " " <= char <= "~" else ascii(char)[1:-1] for char in text)
