"""Paths that a run looked for in its box, and that exist only where the user is."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator

from outlive_harness.golden.observe import Observation
from outlive_harness.golden.record import Record
from outlive_harness.intercept.supervisor import GO, Ending
from outlive_harness.launch.options import RunOptions
from outlive_harness.launch.run import FinishedRun
from outlive_harness.results.ops import Op
from outlive_harness.results.run_spec import is_private
from outlive_harness.world.runner import Runner

from .cures import Cure, directory, in_words
from .guesses import is_marker
from .habits import habit_of

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
        yield from _modules(line)


def _modules(said: str) -> Iterator[str]:
    """Yield the paths at which modules may be that Python misses."""
    for module in _NO_MODULE.findall(said):
        yield from (module, f"{module}.py")


def hint(runner: Runner, record: Record, ran: FinishedRun, ops: list[Op]) -> str:
    """Return what to do about a golden run that failed: which file of the user's it missed, if any is known.

    If it opened no such file, it is run once more, with calls seen that only ask whether a file exists.

    Args:
        runner: the runner that ran it.
        record: the record of its golden run.
        ran: the run, which noted what it read.
        ops: its ops.
    """
    spec, box = record.spec, runner.box
    if ran.ended is Ending.TIMEOUT:
        return f"{in_words(spec, [Cure('timeout', 'SECONDS')])} gives it longer" if spec.timeout else ""
    if spec.command(spec.argv, box.path)[1] != box.path:
        return ""
    said = f"{ran.stdout}\n{ran.stderr}"
    seen = Observation(initial=record.initial, ops=ops, looked=ran.looked, stderr=said)
    found, place = _of_the_user(record, seen)
    if not found and not record.refused:
        box.fill(record.template)
        looking = RunOptions(ran.seconds + _LONGER, visit=lambda _op, _number: GO, reads=True, looks=True)
        seen.looked = runner.run(spec, looking).looked
        found, place = _of_the_user(record, seen)
    where = directory(spec, "input", place) if found else Cure("input", "DIR")
    copies, runs = (in_words(spec, [where._replace(keyword=name)]) for name in ("input", "cwd"))
    if found:
        path = next((path for path in reversed(found) if path in said), found[-1])
        there = "here" if where.value == os.curdir else "there"
        beside = "" if spec.is_function else f", {runs} runs {there}"
        return f"{path} is not in the box: {copies} copies it{beside}"
    if spec.is_function:
        return ""
    unseen = next((path for path in _modules(said) if path in record.initial), "")
    if unseen:
        path = in_words(spec, [Cure("env", "PYTHONPATH=.")])
        return f"{unseen} is in the box, but Python does not look there: add {path}"
    begins = "a copy of its input" if spec.source else "an empty box"
    return f"it runs in {begins}: {copies} copies there what it needs, {runs} runs it where that is"


#: Seconds that a run which is watched more closely may take beyond the time that it took before.
_LONGER = 20.0


def _of_the_user(record: Record, seen: Observation) -> tuple[list[str], str]:
    """Return the paths that a run missed in its box, in the order in which it looked, and where they are."""
    spec = record.spec
    for place in dict.fromkeys((spec.home, spec.standing or spec.home)):
        found = missing_inputs(seen, lambda path: os.path.exists(os.path.join(place, path)))  # noqa: B023
        if found:
            return found, place
    return [], ""
