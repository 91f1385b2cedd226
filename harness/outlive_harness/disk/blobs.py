"""Recorded data, kept by content: in memory up to a limit, then in a file."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: Contents are kept in pieces of this size, so no content must be in memory as a whole.
PIECE = 1 << 20
_MEMORY = 64 << 20


class BlobsError(RuntimeError):
    """Recorded data cannot be kept: the limit on memory is reached, and the disk is full."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Up to PIECE bytes: in memory, or a range of a file that must not change."""

    length: int
    data: bytes | None = None
    path: str = ""
    at: int = 0

    def read(self, start: int, stop: int) -> bytes:
        if self.data is not None:
            return self.data[start:stop]
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(fd, stop - start, self.at + start)
        finally:
            os.close(fd)
        if len(data) < stop - start:
            raise BlobsError(f"{self.path} is shorter than when it was recorded")
        return data


class Blob:
    """An immutable content, in memory or in files; it can be pickled."""

    __slots__ = ("_length", "_pieces")

    def __init__(self, pieces: Iterable[_Piece] = ()) -> None:
        self._pieces = tuple(pieces)
        self._length = sum(piece.length for piece in self._pieces)

    def __len__(self) -> int:
        return self._length

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes from *start* to *stop*, as a slice of bytes would.

        Raises:
            OSError: they are in a file that cannot be read any more.
            BlobsError: that file was changed.
        """
        start, stop, _ = slice(start, stop).indices(self._length)
        if start >= stop:
            return b""
        # All pieces but the last have the same size.
        size = self._pieces[0].length
        parts = []
        for number in range(start // size, (stop - 1) // size + 1):
            base = number * size
            piece = self._pieces[number]
            parts.append(piece.read(max(0, start - base), min(piece.length, stop - base)))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def is_file(self, path: str) -> bool:
        """Return whether this is the content of a file, by reference."""
        return bool(self._pieces) and all(
            piece.path == path and piece.at == number * PIECE for number, piece in enumerate(self._pieces)
        )

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes from start to end, a piece at a time."""
        return (piece.read(0, piece.length) for piece in self._pieces)

    @classmethod
    def of_file(cls, path: str | Path) -> Blob:
        """Return the content of a file by reference; the file must not change.

        Raises:
            OSError: there is no such file.
        """
        size = os.stat(path).st_size
        name = os.path.abspath(path)
        return cls(_Piece(min(PIECE, size - at), None, name, at) for at in range(0, size, PIECE))


class Blobs:
    """Keeps contents; of equal pieces it keeps one.

    Args:
        memory: bytes that are kept in memory; the others go to a file.
        directory: the directory of that file; by default that for temporary files. close() removes the file,
            as does the end of this object.
    """

    def __init__(self, memory: int = _MEMORY, directory: Path | None = None) -> None:
        self._memory = memory
        self._parent = directory
        self._known: dict[bytes, _Piece] = {}
        self._held = 0
        self._spill: tuple[str, int, int] | None = None  # path, descriptor, bytes written
        self._finalizer: weakref.finalize[..., Blobs] | None = None

    def add(self, content: bytes | Iterable[bytes]) -> Blob:
        """Keep a content, whole or in parts of any size.

        Raises:
            BlobsError: there is no room for it.
        """
        parts = (content,) if isinstance(content, bytes) else content
        return Blob(self._keep(piece) for piece in _cut(parts))

    def close(self) -> None:
        """Remove the file; contents in it cannot be read any more."""
        if self._finalizer is not None:
            self._finalizer()

    def leave(self) -> None:
        """Keep the file when this object ends: the owner of its directory removes it."""
        if self._finalizer is not None and self._spill is not None:
            self._finalizer.detach()
            os.close(self._spill[1])

    def _keep(self, data: bytes) -> _Piece:
        key = hashlib.blake2b(data, digest_size=16).digest()
        piece = self._known.get(key)
        if piece is None:
            if self._held + len(data) <= self._memory:
                piece = _Piece(len(data), data)
                self._held += len(data)
            else:
                piece = self._write(data)
            self._known[key] = piece
        return piece

    def _write(self, data: bytes) -> _Piece:
        try:
            path, fd, end = self._spill or self._open()
            done = 0
            while done < len(data):
                done += os.pwrite(fd, data[done:], end + done)
        except OSError as error:
            where = self._spill[0] if self._spill else self._parent or tempfile.gettempdir()
            raise BlobsError(
                f"the run wrote more than can be kept: {self._memory >> 20} MiB are in memory, and "
                f"the rest cannot be written to {where}: {error.strerror or error}"
            ) from error
        self._spill = path, fd, end + len(data)
        return _Piece(len(data), None, path, end)

    def _open(self) -> tuple[str, int, int]:
        place = tempfile.mkdtemp(prefix="outlive-data-", dir=self._parent)
        path = os.path.join(place, "data")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._finalizer = weakref.finalize(self, _remove, fd, place, os.getpid())
        self._spill = path, fd, 0
        return self._spill


def _remove(fd: int, place: str, owner: int) -> None:
    os.close(fd)
    if os.getpid() == owner:  # a forked child leaves its parent's file alone
        shutil.rmtree(place, ignore_errors=True)


def _cut(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join parts of any size into pieces of PIECE bytes; only the last is shorter."""
    waiting = bytearray()
    for part in parts:
        at = 0
        if not waiting:
            while len(part) - at >= PIECE:
                yield part[at : at + PIECE]
                at += PIECE
        waiting += part[at:]
        while len(waiting) >= PIECE:
            yield bytes(waiting[:PIECE])
            del waiting[:PIECE]
    if waiting:
        yield bytes(waiting)
