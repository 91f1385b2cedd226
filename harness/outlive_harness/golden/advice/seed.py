"""What one hash seed makes the same in each run of a nondeterministic Python pipeline: tried, not guessed.

Each new Python draws a seed of its own, and the order of a set of strings follows it (PYTHONHASHSEED).
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace

from outlive_harness.disk.tree import Tree
from outlive_harness.golden.moment import wait_for_another_second
from outlive_harness.golden.record import Record
from outlive_harness.intercept.supervisor import GO
from outlive_harness.launch.options import RunOptions
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.world.runner import Runner

from .cures import Cure

FIXED = Cure("env", "PYTHONHASHSEED=0", "the order of a set, which each Python draws anew")
_PYTHON = re.compile(r"python[0-9.]*t?")


def equal_with_one_seed(runner: Runner, record: Record) -> set[str]:
    """Return the files that two further runs with one hash seed, seconds apart, leave alike."""
    spec, box = record.spec, runner.box
    has_python = any(_PYTHON.fullmatch(os.path.basename(path)) for path in record.reads)
    drawn = spec.environment(box.path).get("PYTHONHASHSEED", "random") in ("", "random")
    if not (has_python and drawn):
        return set()
    fixed = replace(spec, env=(*spec.env, FIXED.value))
    runner.cool()
    first = _left(runner, record, fixed)
    wait_for_another_second(time.time())
    second = _left(runner, record, fixed) if first is not None else None
    if first is None or second is None:
        return set()
    return {path for path, entry in first.items() if second.get(path) == entry}


def _left(runner: Runner, record: Record, spec: RunSpec) -> Tree | None:
    """Return the files that a run from scratch leaves; None if it fails."""
    runner.box.fill(record.template)
    ran = runner.run(spec, RunOptions(record.limit, visit=lambda _op, _number: GO, syncs=False))
    return None if ran.failure() else runner.look(spec)
