"""The scenario's own judgement of a crash state, before anything recovers it."""

from __future__ import annotations

from collections.abc import Sequence

from outlive_harness.golden.record import Record
from outlive_harness.launch.pool import CRASH_CHECK
from outlive_harness.results.findings import Finding
from outlive_harness.world.runner import Runner


def crash_check(runner: Runner, record: Record, acks: Sequence[str], story: list[str]) -> list[Finding]:
    """Run the crash check, if there is one, on a copy of the crash state; return what it finds.

    Args:
        runner: its box holds the crash state, which stays as it is.
        record: the golden run.
        acks: what was acknowledged before the crash.
        story: takes a line that says so.

    Raises:
        BoxError: the box could not be copied, ...
    """
    spec = record.spec
    if not spec.crash_check:
        return []
    with runner.box.copied():
        said = runner.check(spec, acks, role=CRASH_CHECK)
    story.append(f"the crash check {'fails' if said.failed else 'holds'}")
    return said.findings_at_crash(takes_acks=spec.crash_check_takes_acks)
