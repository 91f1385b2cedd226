"""Cures that are tried, not guessed: two further runs, and what they leave alike."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Set as AbstractSet
from dataclasses import replace

from outlive_harness.disk.tree import Tree
from outlive_harness.golden.moment import wait_for_another_second
from outlive_harness.golden.record import Record
from outlive_harness.intercept.supervisor import GO
from outlive_harness.launch.options import RunOptions
from outlive_harness.results.instants import DEFAULT
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.world.runner import Runner

from .by_value import ByValue
from .cures import Cure

#: Each new Python draws a seed of its own, and the order of a set of strings follows it (PYTHONHASHSEED).
FIXED = Cure("env", "PYTHONHASHSEED=0", "the order of a set, which each Python draws anew")
_PYTHON = re.compile(r"python[0-9.]*t?")
#: Seconds that a run with another clock may take at least, and how many times the golden run's.
_LEAST_LIMIT, _SLACK = 10.0, 5.0


def tried(runner: Runner, record: Record, found: ByValue, left: AbstractSet[str]) -> ByValue:
    """Return what is known of outputs that vary, with what one hash seed and a clock that stands still add.

    Args:
        runner: makes the runs.
        record: the golden run.
        found: what is known without them.
        left: outputs that vary, and are not among those.
    """
    spec = record.spec
    if left and _draws_a_seed(runner, record):
        fixed = replace(spec, env=(*spec.env, FIXED.value))
        found = found.plus(left & _left_alike(runner, record, fixed, record.limit), FIXED)
    left -= found.paths
    if left and not spec.freeze:
        # A loop that waits until the clock moves never ends.
        limit = spec.timeout or max(_LEAST_LIMIT, _SLACK * record.seconds)
        frozen = replace(spec, freeze=DEFAULT)
        found = found.plus(left & _left_alike(runner, record, frozen, limit), Cure("freeze", DEFAULT))
    return found


def _draws_a_seed(runner: Runner, record: Record) -> bool:
    """Return whether a Python of the run draws a hash seed."""
    has_python = any(_PYTHON.fullmatch(os.path.basename(path)) for path in record.reads)
    seed = record.spec.environment(runner.box.path).get("PYTHONHASHSEED", "random")
    return has_python and seed in ("", "random")


def _left_alike(runner: Runner, record: Record, spec: RunSpec, limit: float) -> set[str]:
    """Return the files that two runs from scratch, by exec and in other seconds, leave alike."""
    runner.cool()
    one = _left(runner, record, spec, limit)
    if one is None:
        return set()
    wait_for_another_second(time.time())
    other = _left(runner, record, spec, limit) or {}
    return {path for path, entry in one.items() if other.get(path) == entry}


def _left(runner: Runner, record: Record, spec: RunSpec, limit: float) -> Tree | None:
    """Return the files that a run from scratch leaves; None if it fails, or its clock cannot stand still."""
    runner.box.fill(record.template)
    ran = runner.run(spec, RunOptions(limit, visit=lambda _op, _number: GO, syncs=False))
    return None if ran.failure() or ran.unlent else runner.look(spec)
