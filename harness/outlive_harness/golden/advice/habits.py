"""Purposes of files that their names show: caches, logs, locks, temporaries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Habit(NamedTuple):
    """A purpose of files that their names show.

    Attributes:
        what: the purpose.
        names: names of such files.
        directories: names of directories with such files.
        is_ignored: whether no check needs to look at such a file.
        is_log: whether it is nevertheless an output if it holds whole lines and is the same after each run.
        paths: paths of such files whose names alone would not show it; its group ``top`` is their directory.
    """

    what: str
    names: re.Pattern[str]
    directories: re.Pattern[str]
    is_ignored: bool = False
    is_log: bool = False
    paths: re.Pattern[str] = re.compile(r"(?!)")


TOOL_STATE = "state of the tool that runs the steps"
_HABITS = (
    Habit(
        "a cache",
        re.compile(r".+\.py[co]"),
        re.compile(r"__pycache__|\.?cache(dir)?|\..+_cache"),
        is_ignored=True,
    ),
    Habit(
        TOOL_STATE,
        re.compile(r"\.doit\.(db|json)(\..+)?"),
        re.compile(r"\.(snakemake|ipynb_checkpoints|luigi|prefect|nextflow)"),
        is_ignored=True,
        paths=re.compile(  # dbt's
            r"(?P<top>(?:.+/)?target)/((compiled|run)/.+|partial_parse\.msgpack|graph\.gpickle"
            r"|(manifest|semantic_manifest|graph_summary|run_results|sources)\.json)"
        ),
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
        if habit.paths.fullmatch(path):
            return habit
    return None


def top_of(path: str) -> Iterator[tuple[str, str]]:
    """Yield the topmost directory above a file whose name shows that its files are ignored, and why."""
    parts = path.split("/")[:-1]
    for depth, name in enumerate(parts, 1):
        for habit in _HABITS:
            if habit.is_ignored and habit.directories.fullmatch(name):
                yield "/".join(parts[:depth]), f"{habit.what}, by its name"
                return
    for habit in _HABITS:
        found = habit.paths.fullmatch(path)
        if found:
            yield found["top"], f"{habit.what}, by its name"


def is_tool_state(path: str) -> bool:
    """Return whether a file is what a tool keeps of the steps that it ran, as its name shows."""
    habit = habit_of(path)
    return habit is not None and habit.what == TOOL_STATE


def is_ignored_by_name(path: str) -> bool:
    """Return whether no check needs to look at a file, as its name shows: a log, a cache."""
    habit = habit_of(path)
    return habit is not None and habit.is_ignored
