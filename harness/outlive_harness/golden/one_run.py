"""One run without a fault, with the whole contents of outputs that it made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from outlive_harness.disk.blobs import Blobs
from outlive_harness.disk.tree import Tree
from outlive_harness.intercept.lookup import Keeper
from outlive_harness.intercept.supervisor import GO, Answer, Ending
from outlive_harness.intercept.task import handled_signals
from outlive_harness.intercept.versions import Versions
from outlive_harness.launch.exec import InterceptionRefusedError
from outlive_harness.launch.options import RunOptions
from outlive_harness.launch.reap import has_company
from outlive_harness.launch.run import FinishedRun
from outlive_harness.results.ops import Op
from outlive_harness.world.runner import Runner

from .advice.absent import hint
from .record import Record, UntestableError

#: Seconds that a golden run may take if the scenario sets no limit.
_PATIENCE = 3600.0
#: A hint for a program that never ends while its clock is lent to it.
_STANDS_STILL = (
    "the wall clock stands still (--freeze), and a loop that waits until it moves never ends: after a few "
    "UUIDs of version 1, for example, libuuid waits so"
)


@dataclass(frozen=True, slots=True)
class GoldenRun:
    """One run without a fault.

    Attributes:
        ran: the run.
        versions: the whole contents of outputs that it made.
        failure: how it failed, with its output; "" if it did not fail.
    """

    ran: FinishedRun
    versions: Versions
    failure: str = ""

    def demand_success(self) -> None:
        """Raise an error if the run failed.

        Raises:
            UntestableError: the run failed.
        """
        if self.failure:
            raise UntestableError(self.failure)


class Recorder(Protocol):
    """Makes a golden run the recording of the first run, from which crash states are taken."""

    def room(self, record: Record) -> Blobs:
        """Return what takes the bytes that the run writes."""

    def keep(self, record: Record, run: GoldenRun, ops: Sequence[Op], left: Tree) -> None:
        """Keep the run, which is over, and whose files are in the box.

        Args:
            record: the golden run.
            run: the run.
            ops: its ops, with their data.
            left: the files that it left, with the ignored ones.
        """


def run_once(
    runner: Runner, record: Record, ops: list[Op], *, keeper: Keeper | None = None, is_first: bool = False
) -> GoldenRun:
    """Run without a fault; only the first run notes what it reads, and which signals end it.

    Args:
        runner: runs the pipeline, on its box as it is.
        record: the golden run.
        ops: takes the ops of the run.
        keeper: takes the bytes that they write; None for ops without their data.
        is_first: whether it is the first run.

    Raises:
        BlobsError: there is no room for the data.
        BoxError, OSError: it cannot be run.
    """
    spec = record.spec
    versions = Versions(
        Path(os.path.realpath(runner.box.path)), record.is_watched, digest=runner.digest_of(spec)
    )

    def visit(op: Op, _number: int) -> Answer:
        ops.append(op)
        versions.before(op)
        if is_first:
            company = has_company(op.tid, runner.spared)
            record.signals.append(~0 if company else handled_signals(op.tid))
        return GO

    options = RunOptions(timeout=spec.timeout or _PATIENCE)
    try:
        if record.refused:
            ran = runner.run(spec, options)
        else:
            data: Keeper | bool = False if keeper is None else keeper
            ran = runner.run(spec, replace(options, visit=visit, reads=is_first, data=data))
    except InterceptionRefusedError as error:
        record.refused = f"calls cannot be intercepted here: {error.strerror or error}"
        ran = runner.run(spec, options)
    if not ran.failure():
        return GoldenRun(ran, versions)
    runner.box.expect_room(record.final or record.initial, ran.told)
    failure = f"the pipeline fails with no fault: it {ran.failure()}"
    failure += f"\n{ran.told}" if ran.told else ""
    hints = (
        _of_crossing(ran.crossing) if ran.crossing else "",
        _STANDS_STILL if spec.freeze and ran.ended is Ending.TIMEOUT else "",
        _WITHOUT_TERMINAL if "bdb.BdbQuit" in ran.told else "",
        hint(runner, record, ran, ops) if is_first else "",
    )
    failure += "".join(f"\n{one}" for one in hints if one)
    return GoldenRun(ran, versions, failure)


#: A hint for a program that stopped in Python's debugger.
_WITHOUT_TERMINAL = (
    "its breakpoint has no terminal here, and the debugger ended: take the breakpoint out, or debug the "
    "program outside outlive"
)


def _of_crossing(call: str) -> str:
    """Return a hint for a program that tried to move a file to another file system."""
    return (
        f"before that, {call} failed with EXDEV: the temporary directory is another file system than the "
        "outputs here, as on most machines; write temporary files beside the destination, or say that "
        'both are on one file system: --tmp same (in a scenario: tmp="same")'
    )
