"""Marks in one SQLite file, for those who mark many: read once, and written in groups if that is wanted.

A commit is an append to the write-ahead log and an fsync (`synchronous=FULL`). Who committed may have been
killed between the two: the next process reads what only the page cache holds. So the log is fsynced
before what was read from it is believed. The file itself appears whole, with its table, or not at all.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import threading
import warnings
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from ._atomic import atomic_write
from ._durable import open_to_sync, sync_file, synced_directory
from ._place import shown
from ._stores import make_directory, refuse_no_directory
from ._temporary import is_local

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE = "marks.sqlite"
_APPLICATION = 0x6F75_746C  # "outl", where SQLite keeps whose file it is
_SCHEMA = 1
#: `part` is empty for a step, else "/" and the name of the step whose item this is. All names are UTF-8,
#: as blobs, for SQLite's text holds neither every string of Python's nor NUL.
_TABLE = """
CREATE TABLE marks (
    run BLOB NOT NULL, part BLOB NOT NULL, name BLOB NOT NULL, marked_at INTEGER NOT NULL, claims TEXT,
    PRIMARY KEY (run, part, name)
) WITHOUT ROWID
"""
_INSERT = "INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?, ?)"
_VERSIONS = (
    18  # offset of the two bytes that say whether there is a log (https://sqlite.org/fileformat2.html)
)
_PATIENCE = 30.0  # seconds that another process may hold the file
#: What SQLite says, as the system would, by its primary result code (https://sqlite.org/rescode.html).
_ERRORS = {
    3: errno.EACCES,
    5: errno.ETIMEDOUT,
    6: errno.ETIMEDOUT,
    8: errno.EROFS,
    10: errno.EIO,
    11: errno.EBADMSG,
    13: errno.ENOSPC,
    14: errno.EACCES,
    26: errno.EBADMSG,
}
_ADVICE = {
    errno.ETIMEDOUT: f"another process has held it for {_PATIENCE:g} s",
    errno.EBADMSG: "put it aside, and all steps run again; `sqlite3 FILE .recover` may save what it says",
}


class Mark(NamedTuple):
    """A mark that is to be written, and who is told when that is done."""

    run: bytes
    part: bytes
    name: bytes
    marked_at: int
    claims: str | None
    is_written: Callable[[], None]


class Database:
    """The file, and this process' connection to it, for the steps and items of all runs."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.path = os.path.join(directory, FILE)
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        self._most = 0
        self._held: dict[tuple[bytes, ...], Mark] = {}

    def rows(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """Return what the file holds, once that is on the disk; nothing if there is no file."""
        with self._lock, self._told("read"):
            connection = self._opened()
            if connection is None:
                return []
            found = connection.execute(query, values).fetchall()
            self._settle()
            return found

    def put(self, mark: Mark) -> None:
        """Write a mark, or hold it back if a group is open."""
        with self._lock:
            self._check_process()
            self._held[mark[:3]] = mark
            if len(self._held) >= self._most:
                self.write_out()

    def holds(self, *key: bytes) -> bool:
        """Tell whether a mark is held back."""
        return key in self._held

    @contextmanager
    def group(self, most: int) -> Iterator[None]:
        if self._most:  # in another one
            yield
            return
        self._most = most
        try:
            yield
        finally:
            self._most = 0
            self.write_out()

    def write_out(self) -> None:
        """Write what is held back, in one transaction."""
        with self._lock:
            self._check_process()
            marks = list(self._held.values())
            self._held.clear()  # also if they cannot be written: their work is done again, and no fsync twice
            if not marks:
                return
            self._make()
            self._change(lambda connection: connection.executemany(_INSERT, [mark[:5] for mark in marks]))
            for mark in marks:
                mark.is_written()

    def delete(self, query: str, values: tuple[object, ...]) -> None:
        """Remove marks, durably."""
        with self._lock:
            self.write_out()
            with self._told("read"):
                if self._opened() is None:
                    return
            self._change(lambda connection: connection.execute(query, values))
            self._settle()  # where there was nothing to remove: who did may have been killed before its fsync

    def touch(self) -> int:
        """Return the time, in ns, as the file system tells it that the file is on."""
        with self._lock:
            self._make()
            os.utime(self.path)
            return os.stat(self.path).st_mtime_ns

    def _change(self, change: Callable[[sqlite3.Connection], object]) -> None:
        with self._told("written"):
            connection = self._opened()
            assert connection is not None, self.path  # noqa: S101 - it was made just now
            connection.execute("BEGIN IMMEDIATE")
            try:
                change(connection)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def _make(self) -> None:
        """Make the file, unless it is there."""
        if self._connection is not None and self._process == os.getpid():
            return
        make_directory(self.directory)
        if os.path.lexists(self.path):
            return
        with suppress(FileExistsError), self._told("made"):  # another process may be faster
            atomic_write(self.path, _empty(is_logged=_journal(self.directory) == "WAL"), overwrite=False)

    def _opened(self) -> sqlite3.Connection | None:
        self._check_process()
        if self._connection is None:
            refuse_no_directory(self.directory, self.directory)
            if not os.path.lexists(self.path):
                return None
            connection = _connected(self.path)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
            weakref.finalize(self, _close, connection, self._process)
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Refuse what is no store of this version, and choose how a commit lasts."""
        (whose,) = connection.execute("PRAGMA application_id").fetchone()
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        if whose != _APPLICATION:
            raise ValueError(f"directory={self.directory!r}: its {FILE} is none of outlive's")
        if schema > _SCHEMA:
            raise ValueError(
                f"directory={self.directory!r}: its {FILE} was made by a newer version of outlive (schema "
                f"{schema}; this one knows {_SCHEMA}): update outlive, or give another directory"
            )
        (mode,) = connection.execute(f"PRAGMA journal_mode={_journal(self.directory)}").fetchone()
        if mode != "wal":
            _warn(self.directory)
        # Without the log a commit is that the journal is removed, which lasts once its directory is fsynced.
        connection.execute(f"PRAGMA synchronous={'FULL' if mode == 'wal' else 'EXTRA'}")

    def _settle(self) -> None:
        """Bring to the disk what was read: the log, and the file's own name.

        The file itself is not opened: to close it would drop the locks that SQLite has on it
        (fcntl(2)), and all that is in it and not in the log has been fsynced.
        """
        with suppress(FileNotFoundError):
            descriptor = open_to_sync(f"{self.path}-wal")
            try:
                sync_file(descriptor, "full")
            finally:
                os.close(descriptor)
        with synced_directory(self.directory):
            pass

    def _check_process(self) -> None:
        """Forget what was inherited by a fork: it is the parent's to write, and to close."""
        if self._process != os.getpid():
            _INHERITED.append(self._connection)
            self._process, self._connection, self._most = os.getpid(), None, 0
            self._held.clear()

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Make an error of the operating system of SQLite's."""
        try:
            yield
        except sqlite3.Error as error:
            code = _ERRORS.get((getattr(error, "sqlite_errorcode", None) or 0) & 0xFF, errno.EIO)
            advice = f"; {_ADVICE[code]}" if code in _ADVICE else ""
            message = f"directory={self.directory!r}: its {FILE} cannot be {what} ({error}){advice}"
            raise OSError(code, message, self.path) from error


#: Connections of parents: a child that closes one may remove the log under it.
_INHERITED: list[sqlite3.Connection | None] = []


def _empty(*, is_logged: bool) -> bytes:
    """Return a file with an empty table."""
    new = sqlite3.connect(":memory:", isolation_level=None)
    try:
        new.execute(f"PRAGMA application_id={_APPLICATION}")
        new.execute(f"PRAGMA user_version={_SCHEMA}")
        new.execute(_TABLE)
        content = bytearray(new.serialize())
    finally:
        new.close()
    if is_logged:  # as `journal_mode=WAL` says it
        content[_VERSIONS : _VERSIONS + 2] = b"\2\2"
    return bytes(content)


def _connected(path: str) -> sqlite3.Connection:
    """Open a file that is there; any thread may use it, one at a time."""
    from urllib.parse import quote  # noqa: PLC0415 - for those who mark many

    return sqlite3.connect(
        f"file:{quote(path)}?mode=rw",
        uri=True,
        timeout=_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
    )


def _close(connection: sqlite3.Connection, process: int) -> None:
    if process == os.getpid():
        connection.close()


def _journal(directory: str) -> str:
    """Return the journal that a file system allows: a log needs memory that all users of the file share."""
    return "WAL" if sys.platform != "linux" or is_local(directory) else "DELETE"


def _warn(directory: str) -> None:
    message = (
        f"directory={shown(directory)} is on a network file system, or one that has no shared memory: marks "
        "go there without a write-ahead log, slowly, and two machines that write at a time can damage them; "
        "give a directory on a local disk"
    )
    warnings.warn(message, RuntimeWarning, stacklevel=2)
