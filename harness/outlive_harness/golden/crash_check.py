"""The check of crash states, tried where no crash has been: before the golden run, and after it.

A crash at the first op leaves what was there before the run, and one after the last op what the run leaves: a
check that fails there judges no crash.
"""

from __future__ import annotations

from outlive_harness.launch.pool import CRASH_CHECK
from outlive_harness.world.runner import Runner

from .preload import learn_check_preload
from .record import Record, UntestableError


def require_crash_check(runner: Runner, record: Record, *, is_over: bool) -> None:
    """Return if the crash check, if there is one, holds on the box as it is.

    Args:
        runner: its box holds the files from before the golden run, or after it.
        record: the golden run.
        is_over: whether it is over.

    Raises:
        UntestableError: the crash check fails.
    """
    if not record.spec.crash_check:
        return
    with runner.box.copied():
        said = runner.check(record.spec, record.acks if is_over else (), role=CRASH_CHECK)
    if said.failed and is_over:
        raise UntestableError(f"the crash check fails after a run with no fault: it {said.failure}")
    if said.failed:
        raise UntestableError(
            f"the crash check fails before the run, as it would after a crash at its first op: "
            f"it {said.failure}"
        )


def learn_crash_check(runner: Runner, record: Record) -> None:
    """Note what the crash check reads, and what a zygote for it imports."""
    spec = record.spec

    def holds() -> bool:
        return not runner.check(spec, record.acks, role=CRASH_CHECK).failed

    with runner.box.copied():
        read = runner.check(spec, record.acks, reads=True, role=CRASH_CHECK).reads
        record.reads += read if record.reads else []
        if record.preload is not None:
            learn_check_preload(runner, record, read, holds, CRASH_CHECK)
