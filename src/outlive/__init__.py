"""Outlive: files and checkpoints that survive a crash.

atomic_write("out/report.csv", text)          # the old report or the new one, never a part of it
with atomic_open("out/big.bin", "wb") as out: # the same, for what does not fit into memory
    ...
run_steps([fetch, clean, report])             # run again after a crash: what was done is skipped
"""

from ._atomic import atomic_open, atomic_path, atomic_write
from ._batch import Batch, IncompleteBatchError, atomic_batch
from ._checkpoints import Checkpoints, mark_done, step_done
from ._directory import atomic_directory
from ._durable import PublishedNotDurableError
from ._items import Items
from ._lock import AlreadyRunningError, run_lock
from ._orphans import remove_orphans
from ._retry import Retry
from ._step import Step, step
from ._steps import StepResult, run_steps

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
