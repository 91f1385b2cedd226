"""Paths that a run looked for in its box, and that exist only where the user is."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator

from outlive_harness.results.run_spec import is_private

from .guesses import habit_of, is_marker
from .observe import Observation

#: Python's words for a module that it does not find; the module is a directory or a file of that name.
_NO_MODULE = re.compile(r"No module named '?([A-Za-z_]\w*)")


def missing_inputs(seen: Observation, exists: Callable[[str], bool]) -> list[str]:
    """Return the paths that a run looked for in its box, where they exist only in a directory of the user's.

    Files that the run makes itself are not inputs, nor are markers that an earlier run left.

    Args:
        seen: the run.
        exists: returns whether a path exists in that directory.
    """
    made = {path for op in seen.ops for path in (op.path, op.target) if path}
    wanted = [
        path
        for path in dict.fromkeys([*seen.looked, *named(seen.stderr)])
        if path != "." and not path.startswith("../") and not is_private(path) and path not in seen.initial
        if made.isdisjoint(and_above(path))
        if habit_of(path) is None and not is_marker(path) and exists(path)
    ]
    # A directory that was listed stands for the files that were read below it.
    several = set(wanted)
    return [path for path in wanted if several.isdisjoint(and_above(path)[1:])]


def and_above(path: str) -> list[str]:
    """Return a path and the paths of the directories that hold it."""
    paths = [path]
    while "/" in path:
        path = path.rpartition("/")[0]
        paths.append(path)
    return paths


def named(said: str) -> Iterator[str]:
    """Yield words of ENOENT messages, and modules that Python misses, as paths: not every look is seen."""
    for line in said.splitlines():
        if os.strerror(errno.ENOENT) in line:
            for word in re.split(r"[\s:,;()'\"`\u2018\u2019]+", line):
                if word and not word.startswith("/"):
                    yield os.path.normpath(word)
        for module in _NO_MODULE.findall(line):
            yield from (module, f"{module}.py")
