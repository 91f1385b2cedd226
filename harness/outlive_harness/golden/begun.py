"""A golden run whose first run is over, and whose further runs are still to be made.

If a run takes long, its crash states are judged meanwhile, from the ops of the first run and their data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from outlive_harness.disk.blobs import Blob, Blobs
from outlive_harness.disk.tree import Tree
from outlive_harness.intercept.versions import Noted
from outlive_harness.launch.run import FinishedRun
from outlive_harness.results.ops import Op

from .record import Record


@dataclass(slots=True)
class Begun:
    """A golden run whose first run is over.

    Attributes:
        record: what is known of it.
        ran: the first run.
        noted: the whole contents of outputs that it made.
        ignored: the ignored files that it left.
        ended: when it ended, in seconds since the epoch.
        is_dated: whether it left the time of day.
        box: the real path of its box.
        read: paths outside the box that its setup opened or executed.
        ops: its ops with their data; empty if that is too much to keep.
    """

    record: Record
    ran: FinishedRun
    noted: Noted
    ignored: Tree
    ended: float
    is_dated: bool
    box: bytes
    read: list[str]
    ops: list[Op] = field(default_factory=list)


class LimitedKeeper:
    """Keeps the bytes that the ops of a run write, in memory, up to a limit.

    Args:
        limit: the number of bytes; once there are more, nothing is kept.

    Attributes:
        is_full: whether there were more.
    """

    def __init__(self, limit: int) -> None:
        self._blobs = Blobs(2 * limit)  # it never writes a file
        self._left = limit
        self.is_full = False

    def add(self, content: Iterable[bytes]) -> Blob:
        """Keep a content that comes in parts."""
        if self.is_full:
            return Blob()
        kept = self._blobs.add(self._counted(content))
        if self.is_full:
            self._blobs = Blobs(0)
        return kept

    def _counted(self, content: Iterable[bytes]) -> Iterator[bytes]:
        for part in content:
            self._left -= len(part)
            if self._left < 0:
                self.is_full = True
                return
            yield part


def without_data(ops: Iterable[Op]) -> Iterator[Op]:
    """Yield ops without what only the model of the disk needs."""
    for op in ops:
        yield op if op.data is None and op.detail is None else replace(op, data=None, detail=None)
