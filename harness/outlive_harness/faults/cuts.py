"""The lengths at which a write, or a copy that the kernel makes, can be cut short.

The kernel takes a write over a folio at a time and looks for a fatal signal in between
(generic_perform_write(), iomap_write_iter()), so a kill ends it where a page of its *file* ends: what lies
within one page arrives whole or not at all. Folios may be larger than a page (seen on Linux 6.18: multiples
of 2 MiB on ext4 and xfs, of 4 KiB on tmpfs); pages hold for all. sendfile(2), copy_file_range(2) and
splice(2) end there too, and where 16 pages of their source end, which travel as one piece
(splice_direct_to_actor(); seen on ext4, xfs, btrfs and tmpfs with different offsets in the two files).

Other causes cut a write short at any byte, which ``torn="bytes"`` is for: a network file system, FUSE, a
signal that is handled, a quota. A kill does so only if the memory that is written was not present, as in a
map of a file: then it may end where a page of that memory ends (seen on tmpfs and ext4).
"""

from __future__ import annotations

from collections.abc import Iterator

from outlive_harness.results.keywords import CUTS
from outlive_harness.results.ops import Op

_PAGE = 4096
#: Bytes of a source that a copy takes at a time: as many pages as a pipe has (PIPE_DEF_BUFFERS).
_PIECE = 16 * _PAGE
#: How many of the first and of the last ends of pages are tried in a long write, besides the middle one.
_FEW = 3


def can_be_torn(op: Op) -> bool:
    """Return whether an op can write a part of its bytes."""
    return op.traits.writes and op.syscall != "ioctl"  # a clone arrives whole or not at all


def lengths(op: Op, cuts: str = CUTS[0]) -> list[int]:
    """Return how many bytes of a write can arrive.

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
    """Return whether SIGKILL never ends a write after this many bytes."""
    return all(length not in ends for ends in _ends(op))


def half(op: Op) -> int:
    """Return how many bytes of a write fit on a disk with room for half of it; 0 if it is not a write.

    That is half of the write, or a little less, up to the end of a block.
    """
    middle = op.length // 2
    if op.kind != "write" or not middle:
        return 0
    over = (max(op.offset, 0) + middle) % _PAGE
    return middle - over if over < middle else middle


def _ends(op: Op) -> Iterator[range]:
    """Yield the lengths at which a kill can end a write."""
    start = op.begin if op.kind == "write" and op.offset < 0 else op.offset
    yield range(_PAGE - max(start, 0) % _PAGE, op.length, _PAGE)
    if op.kind == "copy" and op.begin >= 0:
        yield range(_PIECE - op.begin % _PAGE, op.length, _PIECE)


def _some(ends: range) -> list[int]:
    if len(ends) <= 2 * _FEW:
        return list(ends)
    return [*ends[:_FEW], ends[len(ends) // 2], *ends[-_FEW:]]
