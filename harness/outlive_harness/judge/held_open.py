"""Files that a program keeps open and writes again and again, such as a database or a log.

Their contents in between do not count as whole, as their last writer never closed them: to a reader, a report
that is written in place looks the same. But each such state may be valid, so a violation says what to declare
if the program keeps the file open on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from outlive_harness.results.ops import Op

#: Shorter writes were flushed before a buffer was full; a single one, such as of a header, proves nothing.
_FLUSHED = 512


class HeldOpen(NamedTuple):
    """A file that stays open over several writes.

    Attributes:
        first: the number of the op that opens it.
        last: the number of the last op that changes it.
        writes: the number of writes.
    """

    first: int
    last: int
    writes: int

    @property
    def advice(self) -> str:
        """Two lines: why states in between do not count as whole, and what to declare if they are valid."""
        return (
            f"the program keeps it open from op {self.first} to op {self.last}, over {self.writes} writes: "
            "only what its last writer leaves there counts as whole\n"
            "if its program recovers from any content in between, declare it: settled; append_only where it "
            "grows by whole lines; ignore, and a check that reads it, where its bytes differ from run to run"
        )


def held_open(ops: Sequence[Op], path: str) -> HeldOpen | None:
    """Return how a file is kept open over several writes; None if it is written in one go.

    Args:
        ops: the golden run's. Closing a file is not an op: the file counts as open until it is opened again.
        path: the file.
    """
    found: HeldOpen | None = None
    opened, writes = 0, list[int]()
    for number, op in enumerate([*ops, Op("open", "open", path)], start=1):
        is_moved = op.traits.installs and path in (op.path, op.target)
        if is_moved or (op.path == path and op.kind in ("open", "unlink")):
            if opened and len(writes) > 1 and not _is_one_go(ops, path, writes):
                count = sum(ops[one - 1].traits.writes for one in writes)
                found = HeldOpen(opened, writes[-1], count)
            opened, writes = (number, []) if op.kind == "open" else (0, [])
        elif op.path == path and op.changes_content:
            writes.append(number)
    return found


def _is_one_go(ops: Sequence[Op], path: str, writes: Sequence[int]) -> bool:
    """Return whether a file is only written from start to end, a buffer at a time."""
    end: int | None = None
    flushed = 0
    for number in range(writes[0], writes[-1] + 1):
        op = ops[number - 1]
        if op.path != path or not op.traits.writes:
            return False
        if end is not None and op.offset not in (end, -1):
            return False
        flushed += number != writes[-1] and op.length < _FLUSHED
        end = op.offset + op.length if op.offset >= 0 else None
    return flushed < 2
