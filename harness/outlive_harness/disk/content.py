"""Contents of files as blocks that refer to the recorded data, wherever it is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from outlive_harness.results.ops import Content

from .tree import WHOLE, digest_bytes

#: Bytes of a block, by which files are kept and torn: a page of the page cache.
BLOCK = 4096
ZEROS = bytes(BLOCK)
#: Patches that may lie on one another before a block is put together.
_DEPTH = 16
#: Blocks that are read at a time, of a content in one piece.
_RUN = 256


class Block:
    """One block of a file: a part of a content, at an offset in the block, over an earlier block.

    Bytes that neither covers are zero. Blocks never change: a write makes a new one over the old one.
    """

    __slots__ = ("_at", "_mark", "_source", "_start", "_stop", "_under", "depth", "length")
    #: bytes up to the last that was written
    length: int
    #: the number of patches under this one
    depth: int

    def __init__(
        self, source: Content | bytes, start: int, stop: int, at: int = 0, under: Block | None = None
    ) -> None:
        end = at + stop - start
        self.length = max(end, under.length if under is not None else 0)
        self._source, self._start, self._stop, self._at = source, start, stop, at
        self._under = None if at == 0 and end == self.length else under
        self.depth = 0 if self._under is None else self._under.depth + 1
        self._mark: tuple[int, int] | None = None
        if self.depth > _DEPTH:
            self._source, self._start, self._stop, self._at = self.read(), 0, self.length, 0
            self._under, self.depth = None, 0

    def read(self) -> bytes:
        """Return its bytes, up to the last that was written."""
        part = part_of(self._source, self._start, self._stop)
        if self._under is None and not self._at:
            return part
        under = self._under.read() if self._under is not None else b""
        return under[: self._at].ljust(self._at, b"\0") + part + under[self._at + len(part) :]

    def mark(self, index: int) -> int:
        """Return a number of 128 bits for these bytes as a file's block *index*; 0 for only zeros."""
        if self._mark is None or self._mark[0] != index:
            self._mark = index, mark(index, self.read())
        return self._mark[1]

    def continues(self, other: Block) -> bool:
        """Return whether this block follows the whole of another block in the same content."""
        return (
            self._source is other._source
            and self._start == other._stop
            and other.length == BLOCK
            and not (self.depth or self._at or other.depth or other._at)
        )

    @property
    def source(self) -> Content | bytes:
        """The content that was written last."""
        return self._source

    def is_part_of(self, source: Content | bytes, start: int) -> bool:
        """Return whether this block is exactly the part of a content that begins at *start*."""
        return self._source is source and self._start == start and not (self.depth or self._at)

    def run(self, last: Block) -> bytes:
        """Return the bytes from here to the end of a *last* block that continues this one."""
        return self.read() if last is self else part_of(self._source, self._start, last._stop)


def part_of(source: Content | bytes, start: int, stop: int) -> bytes:
    """Return the bytes of a content from *start* to *stop*, wherever it is kept."""
    return source[start:stop] if isinstance(source, bytes) else source.read(start, stop)


def mark(index: int, data: bytes) -> int:
    """Return Block.mark() of plain bytes."""
    data = data.rstrip(b"\0")
    if not data:
        return 0
    salt = index.to_bytes(8, "little")
    return int.from_bytes(hashlib.blake2b(data, digest_size=16, salt=salt).digest(), "little")


def cleared(block: Block | None, at: int, stop: int) -> Block | None:
    """Return the block with zeros from *at* to *stop*; the block itself if nothing was written there."""
    if block is None or block.length <= at:
        return block
    if at == 0 and stop >= block.length:
        return None
    return Block(ZEROS, 0, min(stop, block.length) - at, at, block)


def chunks(blocks: Mapping[int, Block], size: int) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, bytes) of the parts of a file of *size* bytes that were written, in order."""
    run: list[Block] = []
    first = 0
    for index in sorted(blocks):
        if index * BLOCK >= size:
            break
        block = blocks[index]
        if run and (index != first + len(run) or len(run) >= _RUN or not block.continues(run[-1])):
            yield first * BLOCK, run[0].run(run[-1])[: size - first * BLOCK]
            run = []
        if not run:
            first = index
        run.append(block)
    if run:
        yield first * BLOCK, run[0].run(run[-1])[: size - first * BLOCK]


def source_of(blocks: Mapping[int, Block], size: int) -> Content | bytes | None:
    """Return the content that a file of *size* bytes holds as a whole; None if it holds no single one."""
    source = blocks[0].source if 0 in blocks else None
    count = -(-size // BLOCK)
    if source is None or len(source) != size or len(blocks) != count:
        return None
    is_it = all(block.is_part_of(source, index * BLOCK) for index, block in blocks.items())
    return source if is_it else None


def read(blocks: Mapping[int, Block], size: int) -> bytes:
    """Return all bytes of a file."""
    data = bytearray(size)
    for offset, part in chunks(blocks, size):
        data[offset : offset + len(part)] = part
    return bytes(data)


def digest(blocks: Mapping[int, Block], size: int, box: bytes = b"") -> str:
    """Return the digest of a file's content, as digest_file() does."""
    if size < WHOLE:
        return digest_bytes(read(blocks, size), box)
    running = hashlib.blake2b(digest_size=16)
    done = 0
    for offset, part in chunks(blocks, size):
        _zeros(running, offset - done)
        running.update(part)
        done = offset + len(part)
    _zeros(running, size - done)
    return running.hexdigest()


def _zeros(running: hashlib.blake2b, count: int) -> None:
    many = bytes(min(count, 1 << 20))
    while count > 0:
        running.update(many[:count])
        count -= len(many)
