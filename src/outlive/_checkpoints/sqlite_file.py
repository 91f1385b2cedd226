"""The connection to the SQLite file of marks, shared by the steps and items of all runs in a process.

A commit appends to the write-ahead log and calls fsync (`synchronous=FULL`). The process that committed may
have been killed before the fsync: the next process then reads what only the page cache holds. So the log is
fsynced before what was read from it is believed. The file itself appears whole, with its table, or not at
all.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import threading
import time
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from outlive._atomic.destination import identity
from outlive._atomic.files import atomic_write
from outlive._system.durability import close_directory, open_directory, sync_path, synced_directory
from outlive._system.locks import lock

from . import sqlite_forks
from .sqlite_format import (
    FILE,
    PATIENCE,
    SIDES,
    TIMED_OUT,
    connected,
    empty_file,
    may_log,
    prepare,
    translated,
)
from .store import make_directory, refuse_other_than_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

_INSERT = "INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?, ?)"
_BETWEEN_LOOKS = 0.01  # seconds


class Mark(NamedTuple):
    """A mark to be written, and a function to call once it is in the file."""

    run: bytes
    part: bytes
    name: bytes
    marked_at: int
    record: str | None
    is_written: Callable[[], None]


class _Group:
    """A body whose marks are written together; `lost` is the error if some never will be."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.lost: OSError | None = None


class Database:
    """The file, and this process' connection to it."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.path = os.path.join(directory, FILE)
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None  # of the file that it is connected to
        self._finalizer: weakref.finalize[..., Database] | None = None
        self._threads = threading.local()  # each has its own groups
        self._held: dict[tuple[bytes, ...], tuple[Mark, _Group]] = {}
        sqlite_forks.watch(self)

    def alone(self) -> AbstractContextManager[object]:
        """Keep other threads from the file, and from what is known of it."""
        return self._lock

    def rows(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """Return what the file holds, once that is on the disk; nothing if there is no file."""
        with self._lock, translated(self.directory, "read"):
            connection = self._opened()
            if connection is None:
                return []
            found = connection.execute(query, values).fetchall()
            self._settle()
            return found

    def put(self, mark: Mark) -> None:
        """Write a mark, or hold it back if this thread is in a group."""
        with self._lock:
            groups = self._groups()
            if groups and len(self._held) + 1 < groups[-1].most:
                self._held[mark[:3]] = mark, groups[-1]
            else:
                self._write(mark)

    def is_held(self, *key: bytes) -> bool:
        """Return whether a mark is held back."""
        return key in self._held

    @contextmanager
    def group(self, most: int) -> Iterator[None]:
        group, groups = _Group(most), self._groups()
        groups.append(group)
        try:
            yield
        finally:
            groups.remove(group)
            self._end(group)

    def most(self) -> int:
        """Return how many marks this thread writes at a time."""
        groups = self._groups()
        return groups[-1].most if groups else 1

    def write_out(self) -> None:
        """Write the marks that all threads hold back."""
        with self._lock:
            if self._held:
                self._write()

    def delete(self, query: str, several: Sequence[tuple[object, ...]]) -> None:
        """Remove marks, durably, in one transaction."""
        with self._lock:
            self.write_out()
            with translated(self.directory, "read"):
                if self._opened() is None:
                    return
            self._change(lambda connection: connection.executemany(query, several))
            self._settle()  # even with nothing to remove: the process that did may have died before its fsync

    def touch(self) -> int:
        """Return the time in ns by the clock of the file's file system."""
        with self._lock:
            self._make()
            os.utime(self.path)
            return os.stat(self.path).st_mtime_ns

    def close(self) -> None:
        """Close the connection, if there is one; the next access opens another."""
        with self._lock:
            self._connection = None
            if self._finalizer is not None:
                self._finalizer()

    def pause(self) -> BaseException | None:
        """Wait for the thread that uses the connection, close it, and prevent another one."""
        interrupt = sqlite_forks.take(self._lock)
        self.close()
        return interrupt

    def resume(self) -> None:
        """Continue after `pause`."""
        self._lock.release()

    def start_anew(self) -> None:
        """Continue after `pause` in a child: its parent writes what is held back, in whatever group."""
        self._lock = threading.RLock()  # threads that do not exist here may wait for the old one
        self._threads = threading.local()
        self._held = {}

    def _groups(self) -> list[_Group]:
        """Return this thread's groups, the outermost first."""
        groups: list[_Group] | None = getattr(self._threads, "groups", None)
        if groups is None:
            groups = self._threads.groups = []
        return groups

    def _end(self, group: _Group) -> None:
        """Write what is held back, or drop this group's marks: the caller of the body sees the error."""
        with self._lock:
            try:
                self.write_out()
            finally:
                self._held = {key: held for key, held in self._held.items() if held[1] is not group}
        if group.lost is not None and group.lost is not sys.exc_info()[1]:
            raise group.lost

    def _write(self, *more: Mark) -> None:
        """Write what is held back, and more, in one transaction; if that fails, the former stay held back."""
        marks = [*(mark for mark, _ in self._held.values()), *more]
        try:
            self._make()
            self._change(lambda connection: connection.executemany(_INSERT, [mark[:5] for mark in marks]))
        except OSError as error:
            if getattr(error, "outlive_durability", False):
                self._lose(error)
            raise
        self._held = {}
        for mark in marks:
            mark.is_written()

    def _lose(self, error: OSError) -> None:
        """Drop what is held back, as a failed fsync is never retried; each group raises it at its end."""
        for _, group in self._held.values():
            group.lost = error
        self._held = {}

    def _change(self, change: Callable[[sqlite3.Connection], object]) -> None:
        with translated(self.directory, "written"):
            connection = self._opened()
            if connection is None:
                message = f"directory={self.directory!r}: another program removed its {FILE} just now"
                raise FileNotFoundError(errno.ENOENT, message, self.path)
            try:
                connection.execute("BEGIN IMMEDIATE")
                change(connection)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # the transaction had not begun
                    connection.execute("ROLLBACK")
                raise

    def _make(self) -> None:
        """Make the file, unless it exists."""
        if self._is_current():
            return
        make_directory(self.directory)
        if os.path.lexists(self.path):
            return
        if self._left():
            self._remove_left()
        with suppress(FileExistsError), translated(self.directory, "made"):  # another process may be faster
            atomic_write(self.path, empty_file(is_logged=may_log(self.directory)), overwrite=False)

    def _left(self) -> list[str]:
        """Return the files that stand beside the file, in the order in which they are removed."""
        return [self.path + side for side in SIDES if os.path.lexists(self.path + side)]

    def _remove_left(self) -> None:
        """Remove what was left beside a file that was removed: SQLite would apply it to the new file.

        A process that makes the file meanwhile saw nothing left, or waits for the directory's lock. So while
        the lock is held and there is no file, nobody uses what is left.
        """
        with _locked(self.directory), synced_directory(self.directory):
            for path in [] if os.path.lexists(self.path) else self._left():
                with suppress(FileNotFoundError):
                    os.unlink(path)

    def _is_current(self) -> bool:
        """Return whether there is a connection to the file that stands at the path."""
        return self._connection is not None and self._identity == identity(self.path) is not None

    def _opened(self) -> sqlite3.Connection | None:
        if self._is_current():
            return self._connection
        self.close()
        refuse_other_than_directory(self.directory, self.directory)
        if not os.path.lexists(self.path):
            return None
        # Before it is opened: if the file is replaced in between, the connection is not current.
        before = identity(self.path)
        connection = connected(self.path)
        try:
            prepare(connection, self.directory)
        except BaseException:
            connection.close()
            raise
        self._finalizer = weakref.finalize(self, connection.close)
        self._connection, self._identity = connection, before
        return connection

    def _settle(self) -> None:
        """Bring to the disk what was read: the log, and the file's own name.

        The file itself is not opened: closing it would drop the locks that SQLite has on it (fcntl(2)).
        Everything in it that is not in the log was fsynced.
        """
        # The log is beside the target of a link.
        path = os.path.realpath(self.path) if os.path.islink(self.path) else self.path
        with suppress(FileNotFoundError):
            sync_path(f"{path}-wal")
        for directory in dict.fromkeys((os.path.dirname(path), self.directory)):
            with synced_directory(directory):
                pass


@contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Keep other processes that call this from a directory, if the directory can be locked.

    Raises:
        TimeoutError: Another process has held the lock for too long.
    """
    names = open_directory(directory)
    try:
        end = time.monotonic() + PATIENCE
        while names is not None and lock(names.fileno()) is False:
            if time.monotonic() > end:
                raise TimeoutError(errno.ETIMEDOUT, f"directory={directory!r}: {TIMED_OUT}", directory)
            time.sleep(_BETWEEN_LOOKS)
        yield
    finally:
        close_directory(names)
