"""Purposes of files that their names show: caches, logs, locks, temporaries."""

from __future__ import annotations

import re
from typing import NamedTuple


class Habit(NamedTuple):
    """A purpose of files that their names show.

    Attributes:
        what: the purpose.
        names: names of such files.
        directories: names of directories with such files.
        is_ignored: whether no check needs to look at such a file.
        is_log: whether it is nevertheless an output if it holds whole lines and is the same after each run.
    """

    what: str
    names: re.Pattern[str]
    directories: re.Pattern[str]
    is_ignored: bool = False
    is_log: bool = False


_HABITS = (
    Habit(
        "a cache", re.compile(r".+\.py[co]"), re.compile(r"__pycache__|\.?cache|\..+_cache"), is_ignored=True
    ),
    Habit(
        "a log",
        re.compile(r".+\.log(\.[0-9]+)?|nohup\.out"),
        re.compile(r"\.?logs?"),
        is_ignored=True,
        is_log=True,
    ),
    Habit("a lock", re.compile(r"\.?lock|.+[.-](lock|lck)|.+\.pid"), re.compile(r"\.?locks?")),
    Habit("a temporary", re.compile(r".+\.(te?mp|part|swp)|.+~|\.?tmp.*"), re.compile(r"\.?te?mp")),
)


def habit_of(path: str) -> Habit | None:
    """Return the purpose of a file that its name shows, if it shows one."""
    *above, name = path.split("/")
    for habit in _HABITS:
        if habit.names.fullmatch(name) or any(map(habit.directories.fullmatch, above)):
            return habit
    return None


def is_ignored_by_name(path: str) -> bool:
    """Return whether no check needs to look at a file, as its name shows: a log, a cache."""
    habit = habit_of(path)
    return habit is not None and habit.is_ignored
