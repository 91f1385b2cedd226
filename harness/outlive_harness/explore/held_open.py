"""Files that a program keeps open and comes back to, as a database or a log: each state may be a valid one.

What such a file holds meanwhile was never closed by its last writer, so that it does not count as whole. That
is the rule, since a report written in place looks no different to a reader; but it is not the only one there
can be, and who keeps a file open on purpose is told what to declare.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from outlive_harness.trace import INSTALLS, SYNCS, WRITES, Op

#: Writes of fewer bytes were not put off until a buffer was full; one alone, as of a head, tells nothing.
_FLUSHED = 512
_CHANGES = frozenset({*WRITES, "truncate", "fallocate"})


class HeldOpen(NamedTuple):
    """A file that stays open over several writes.

    Attributes:
        first: the op that opens it.
        last: the last op that changes it.
        writes: how many there are.
    """

    first: int
    last: int
    writes: int

    @property
    def advice(self) -> str:
        """Why states in between do not count as whole, and what to declare if they are valid: two lines."""
        return (
            f"the program keeps it open from op {self.first} to op {self.last}, over {self.writes} writes: "
            "only what its last writer leaves there counts as whole\n"
            "if each content in between is valid, declare it: append_only where it grows by whole lines, "
            "else ignore, and a check that reads it"
        )


def held_open(ops: Sequence[Op], path: str) -> HeldOpen | None:
    """Return how a file is kept open while it is changed again and again; None if it is written in one go.

    Args:
        ops: what the golden run does. Closing a file is no op: until it is opened again it may be open.
        path: the file.
    """
    found: HeldOpen | None = None
    opened, writes = 0, list[int]()
    for number, op in enumerate([*ops, Op("open", "open", path)], start=1):
        is_moved = op.kind in INSTALLS and path in (op.path, op.target)
        if is_moved or (op.path == path and op.kind in ("open", "unlink")):
            if opened and len(writes) > 1 and not _is_one_go(ops, path, writes):
                count = sum(ops[one - 1].kind in WRITES for one in writes)
                found = HeldOpen(opened, writes[-1], count)
            opened, writes = (number, []) if op.kind == "open" else (0, [])
        elif op.path == path and op.kind in _CHANGES:
            writes.append(number)
    return found


def _is_one_go(ops: Sequence[Op], path: str, writes: Sequence[int]) -> bool:
    """Tell whether a file is only written from one end to the other, a buffer at a time."""
    end: int | None = None
    flushed = 0
    for number in range(writes[0], writes[-1] + 1):
        op = ops[number - 1]
        if op.path != path or op.kind in SYNCS or op.kind not in WRITES:
            return False
        if end is not None and op.offset not in (end, -1):
            return False
        flushed += number != writes[-1] and op.length < _FLUSHED
        end = op.offset + op.length if op.offset >= 0 else None
    return flushed < 2
