"""The content of a file that should be whole, in words: beside the content expected, and the one before."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

#: Files up to this size, in bytes, are read; of larger ones only the sizes are described.
_MOST = 1 << 22
#: Bytes that are compared at once.
_STEP = 4096
#: How many parts of a content are described one by one.
_PARTS = 3


class _Part(NamedTuple):
    """Consecutive bytes that differ from the new content.

    Attributes:
        what: ``zeros`` or ``the old content``; "" if they are neither.
        start: the index of the first byte.
        end: the index after the last byte.
    """

    what: str
    start: int
    end: int


def described_file(here: Path, whole: Path, old: Path, own: Callable[[bytes], bytes] = bytes) -> str:
    """Return a few words on a file's content: see described().

    Args:
        here: the file.
        whole: the file as it should be.
        old: the file as it was before; it need not exist.
        own: returns a content in which the box that it was made in has this one's path.
    """
    size = here.stat().st_size
    if not whole.is_file() or whole.is_symlink():
        return in_bytes(size)
    wanted = whole.stat().st_size
    if max(size, wanted) <= _MOST:
        with contextlib.suppress(OSError):  # the pipeline may have made it unreadable
            before = own(old.read_bytes()) if _is_read(old) else None
            return described(own(here.read_bytes()), own(whole.read_bytes()), before)
    return "right size, wrong content" if size == wanted else f"{size} of {in_bytes(wanted)}"


def _is_read(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size <= _MOST


def described(here: bytes, whole: bytes, old: bytes | None = None) -> str:
    """Return a few words on a content.

    Args:
        here: the content of the file.
        whole: the new content, which it should hold.
        old: the content before; None if there was no such file.
    """
    size, wanted = len(here), len(whole)
    right = _same(here, whole, 0)
    if right == size:
        return f"{size} of {in_bytes(wanted)}"
    if right == wanted:
        behind = _behind(here, wanted, old)
        return f"all {in_bytes(wanted)}, and {behind} behind them"
    if old is not None and size == len(old) and here[right:] == old[right:]:
        return f"{right} of {in_bytes(wanted)}, and {size - right} of the old content behind them"
    if old is not None and here == old[:size]:
        return f"{size} of the {in_bytes(len(old))} that it held before"
    how = "right size" if size == wanted else f"{in_bytes(size)}, not {wanted}"
    parts = list(_parts(here, whole, old))
    if len(parts) > _PARTS or not all(part.what for part in parts):
        return f"{how}, wrong from byte {right} on"
    words = (_in_words(part, size) for part in parts)
    return f"{how}, {', '.join(words)}"


def _behind(here: bytes, start: int, old: bytes | None) -> str:
    count = len(here) - start
    if not any(here[start:]):
        return f"{count} zero{'s' * (count != 1)}"
    if old is not None and here[start:] == old[start : len(here)]:
        return f"{count} of the old content"
    return f"{count} more"


def _parts(here: bytes, whole: bytes, old: bytes | None) -> Iterator[_Part]:
    """Yield the parts that differ from the new content; the last one may be neither zeros nor old."""
    at = _same(here, whole, 0)
    while at < len(here):
        ends = {"zeros": _same(here, bytes(len(here)), at), "the old content": _same(here, old or b"", at)}
        what = max(ends, key=lambda one: ends[one])
        if ends[what] <= at:
            yield _Part("", at, len(here))
            return
        yield _Part(what, at, ends[what])
        at = _same(here, whole, ends[what])


def _in_words(part: _Part, size: int) -> str:
    if part.end == size:
        return f"{part.what} from byte {part.start} on"
    return f"{part.what} from byte {part.start} to {part.end - 1}"


def _same(one: bytes, other: bytes, at: int) -> int:
    """Return the index, from *at* on, at which two contents first differ, or at which one of them ends."""
    end = min(len(one), len(other))
    while at < end:
        last = min(at + _STEP, end)
        if one[at:last] != other[at:last]:
            return next(index for index in range(at, last) if one[index] != other[index])
        at = last
    return end


def in_bytes(count: int) -> str:
    """Return a number of bytes in words."""
    return f"{count} byte{'s' * (count != 1)}"
