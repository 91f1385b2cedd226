"""``torn``: SIGKILL part-way through a write, or a copy that the kernel makes.

A write is one call, but the kernel takes it over a folio at a time and looks for a fatal signal in between
(generic_perform_write(), iomap_write_iter()), so a kill ends it where a page of its *file* ends: what lies
within one page arrives whole or not at all. Folios may be larger than a page (seen on Linux 6.18: multiples
of 2 MiB on ext4 and xfs, of 4 KiB on tmpfs); pages are what holds for all. sendfile(2), copy_file_range(2)
and splice(2) end there too, and where 16 pages of their source end, which are one piece on the way
(splice_direct_to_actor(); seen on ext4, xfs, btrfs and tmpfs where the places in both files differ).

At any byte a write is cut short by other causes, which ``torn="bytes"`` is for: a network file system, FUSE,
a signal that is handled, a quota. A kill does so only where the memory that is written was not there, as in a
map of a file: then it may end where a page of that memory does (seen on tmpfs and ext4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from outlive_harness.faults import Blames, Strike
from outlive_harness.intercept.supervisor import CRASH, GO
from outlive_harness.plan import Point
from outlive_harness.scenario import CUTS
from outlive_harness.trace import WRITES, Op

_PAGE = 4096
#: Bytes of a source that a copy takes at a time: as many pages as a pipe has (PIPE_DEF_BUFFERS).
_PIECE = 16 * _PAGE
#: Ends of pages in one write that are tried, if it has more: so many of the first, so many of the last, and
#: the one in the middle.
_FEW = 3
#: What a violation rests on that needs a cut where no kill makes one.
SHORT_WRITE = (
    "a write cut short inside a page of its file: NFS, FUSE, a signal that is handled or a quota does that; "
    "SIGKILL does not, unless the memory that is written was not there"
)


class Torn:
    """Strikes in each write and copy: where a page of the file ends, or at other bytes as well.

    Args:
        cuts: ``pages`` or ``bytes``.
    """

    name = "torn"
    intercepts = True
    blames: Blames = "op"

    def __init__(self, cuts: str = CUTS[0]) -> None:
        self._cuts = cuts

    def points(self, ops: Sequence[Op], *, seconds: float, count: int | None, random: Random) -> list[Point]:  # noqa: ARG002
        """Return, for each write, the lengths at which it is torn."""
        return [
            Point(self.name, number, part)
            for number, op in enumerate(ops, start=1)
            if op.kind in WRITES and op.syscall != "ioctl"  # a clone comes whole, or not at all
            for part in lengths(op, self._cuts)
        ]

    def strike(self, point: Point, box: Path) -> Strike:  # noqa: ARG002
        """Let the first bytes of the write through, and kill."""
        return Strike(lambda _op, number: CRASH if number == point.at else GO, tear=point.part)


def lengths(op: Op, cuts: str = CUTS[0]) -> list[int]:
    """Return how many bytes of a write arrive.

    Args:
        op: the write, or a copy.
        cuts: ``pages``: up to where a page of the file ends, the first, the last and the middle ones;
            ``bytes``: 1, half and all but one of them as well.
    """
    chosen = {length for ends in _ends(op) for length in _some(ends)}
    if cuts == "bytes":
        chosen |= {1, op.length // 2, op.length - 1}
    return sorted(length for length in chosen if 0 < length < op.length)


def is_short(op: Op, length: int) -> bool:
    """Tell whether no SIGKILL ends a write after so many bytes."""
    return all(length not in ends for ends in _ends(op))


def _ends(op: Op) -> Iterator[range]:
    """Yield the lengths of a write at which a kill can end it."""
    start = op.begin if op.kind == "write" and op.offset < 0 else op.offset
    yield range(_PAGE - max(start, 0) % _PAGE, op.length, _PAGE)
    if op.kind == "copy" and op.begin >= 0:
        yield range(_PIECE - op.begin % _PAGE, op.length, _PIECE)


def _some(ends: range) -> list[int]:
    if len(ends) <= 2 * _FEW:
        return list(ends)
    return [*ends[:_FEW], ends[len(ends) // 2], *ends[-_FEW:]]
