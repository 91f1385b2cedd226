"""Outlive: files and checkpoints that survive a crash.

    atomic_write("out/report.csv", text)           # the old report or the new one, never a part of it
    with atomic_open("out/big.bin", "wb") as out:  # the same, for data that do not fit into memory
        ...
    run_steps([fetch, clean, report])              # run again after a crash: steps that are done are skipped

The package `_pipeline` stands on `_checkpoints`, that on `_atomic`, and that on `_system`; `outlive.remote`
stands beside `_pipeline`. Each imports those below it alone.
"""

from ._atomic.batch import Batch, IncompleteBatchError, atomic_batch
from ._atomic.directory import atomic_directory
from ._atomic.files import atomic_open, atomic_write
from ._atomic.orphans import remove_orphans
from ._atomic.path import atomic_path
from ._checkpoints.checkpoints import Checkpoints
from ._checkpoints.default import mark_done, step_done
from ._checkpoints.items import Items
from ._checkpoints.run_lock import AlreadyRunningError, run_lock
from ._pipeline.report import StepResult
from ._pipeline.retry import Retry
from ._pipeline.run import run_steps
from ._pipeline.step import Step, step
from ._system.durability import PublishedNotDurableError

__all__ = [
    "AlreadyRunningError",
    "Batch",
    "Checkpoints",
    "IncompleteBatchError",
    "Items",
    "PublishedNotDurableError",
    "Retry",
    "Step",
    "StepResult",
    "atomic_batch",
    "atomic_directory",
    "atomic_open",
    "atomic_path",
    "atomic_write",
    "mark_done",
    "remove_orphans",
    "run_lock",
    "run_steps",
    "step",
    "step_done",
]
