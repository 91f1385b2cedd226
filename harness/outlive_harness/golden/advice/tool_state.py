"""What the tools that run the steps of a pipeline keep for themselves in its box: no output."""

from __future__ import annotations

from outlive_harness.golden.record import Record
from outlive_harness.results.patterns import globs
from outlive_harness.results.run_spec import is_private

from .cures import Cure
from .habits import TOOL_STATE, is_tool_state


def tool_state(record: Record) -> list[Cure]:
    """Return what to ignore of a golden run: such files, if it leaves others that can be compared.

    Such a file is often the same after each run, and another one after a recovery that had less to do.
    """
    made = {
        path
        for path, entry in record.final.items()
        if entry.kind != "dir" and entry != record.initial.get(path) and record.spec.is_output(path)
        if not is_private(path)
    }
    state = set(filter(is_tool_state, made))
    if not state or state == made:
        return []
    patterns = globs(state, {path for path in record.final if path not in state})
    return [Cure("ignore", pattern, TOOL_STATE) for pattern in patterns]
