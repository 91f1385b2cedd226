"""Marks in one SQLite file, for those who mark many: read once, and written in groups if that is wanted.

A commit is an append to the write-ahead log and an fsync (`synchronous=FULL`). Who committed may have been
killed between the two: the next process reads what only the page cache holds. So the log is fsynced
before what was read from it is believed. The file itself appears whole, with its table, or not at all.

A child that is forked must have no connection: SQLite would believe that it holds its parent's locks, which
a child does not inherit (fcntl(2), https://sqlite.org/howtocorrupt.html). So all are closed before a fork,
and parent and child open their own when they next need one.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import threading
import time
import warnings
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from ._atomic import atomic_write
from ._durable import close_names, open_names, open_to_sync, sync_file, synced_directory
from ._mounts import is_local
from ._orphans import lock
from ._place import identity, shown
from ._stores import make_directory, refuse_no_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

FILE = "marks.sqlite"
_SIDES = ("-wal", "-shm", "-journal")  # what SQLite keeps beside it
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
_BETWEEN_LOOKS = 0.01  # seconds
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
#: Extended result codes: the data were not brought to the disk, or the name was not.
_UNSYNCED = (1034, 1290)  # SQLITE_IOERR_FSYNC, SQLITE_IOERR_DIR_FSYNC
_ADVICE = {
    errno.ETIMEDOUT: f"another process has held it for {_PATIENCE:g} s",
    errno.EBADMSG: f"put it aside with all that is named {FILE}*, and all steps run again; "
    "`sqlite3 FILE .recover` may save what it says",
}


class Mark(NamedTuple):
    """A mark that is to be written, and who is told when that is done."""

    run: bytes
    part: bytes
    name: bytes
    marked_at: int
    claims: str | None
    is_written: Callable[[], None]


class _Group:
    """A body whose marks are written together; `lost` is why some never will be."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.lost: OSError | None = None


class Database:
    """The file, and this process' connection to it, for the steps and items of all runs."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.path = os.path.join(directory, FILE)
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None  # of the file that it is connected to
        self._finalizer: weakref.finalize[..., Database] | None = None
        self._threads = threading.local()  # each has its own groups
        self._held: dict[tuple[bytes, ...], tuple[Mark, _Group]] = {}
        _watch(self)

    def alone(self) -> AbstractContextManager[object]:
        """Keep other threads from the file, and from what is known of it."""
        return self._lock

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
        """Write a mark, or hold it back if this thread is in a group."""
        with self._lock:
            groups = self._groups()
            if groups and len(self._held) + 1 < groups[-1].most:
                self._held[mark[:3]] = mark, groups[-1]
            else:
                self._write(mark)

    def holds(self, *key: bytes) -> bool:
        """Tell whether a mark is held back."""
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
        """Write what is held back, by all threads."""
        with self._lock:
            if self._held:
                self._write()

    def delete(self, query: str, several: Sequence[tuple[object, ...]]) -> None:
        """Remove marks, durably, in one transaction."""
        with self._lock:
            self.write_out()
            with self._told("read"):
                if self._opened() is None:
                    return
            self._change(lambda connection: connection.executemany(query, several))
            self._settle()  # where there was nothing to remove: who did may have been killed before its fsync

    def touch(self) -> int:
        """Return the time, in ns, as the file system tells it that the file is on."""
        with self._lock:
            self._make()
            os.utime(self.path)
            return os.stat(self.path).st_mtime_ns

    def close(self) -> None:
        """Close the connection, if there is one; what needs one opens another."""
        with self._lock:
            self._connection = None
            if self._finalizer is not None:
                self._finalizer()

    def pause(self) -> BaseException | None:
        """Wait for the thread that uses the connection, close it, and let nobody open another."""
        interrupt = _wait_for(self._lock)
        self.close()
        return interrupt

    def resume(self) -> None:
        """Go on after `pause`."""
        self._lock.release()

    def start_anew(self) -> None:
        """Go on after `pause` in a child: what is held back, in whatever group, is its parent's to write."""
        self._lock = threading.RLock()  # others may have waited for the old one, who are not here
        self._threads = threading.local()
        self._held = {}

    def _groups(self) -> list[_Group]:
        """Return this thread's groups, from the outermost on."""
        groups: list[_Group] | None = getattr(self._threads, "groups", None)
        if groups is None:
            groups = self._threads.groups = []
        return groups

    def _end(self, group: _Group) -> None:
        """Write what is held back, or forget this group's: who is told of the error may undo their work."""
        with self._lock:
            try:
                self.write_out()
            finally:
                self._held = {key: held for key, held in self._held.items() if held[1] is not group}
        if group.lost is not None and group.lost is not sys.exc_info()[1]:
            raise group.lost

    def _write(self, *more: Mark) -> None:
        """Write what is held back, and more, in one transaction; if it fails, the former is held on to."""
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
        """Forget what is held back, for no fsync that failed is tried again; each group's end raises it."""
        for _, group in self._held.values():
            group.lost = error
        self._held = {}

    def _change(self, change: Callable[[sqlite3.Connection], object]) -> None:
        with self._told("written"):
            connection = self._opened()
            if connection is None:
                message = f"directory={self.directory!r}: somebody removed its {FILE} just now"
                raise FileNotFoundError(errno.ENOENT, message, self.path)
            try:
                connection.execute("BEGIN IMMEDIATE")
                change(connection)
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # if it had not begun
                    connection.execute("ROLLBACK")
                raise

    def _make(self) -> None:
        """Make the file, unless it is there."""
        if self._is_current():
            return
        make_directory(self.directory)
        if os.path.lexists(self.path):
            return
        if self._left():
            self._remove_left()
        with suppress(FileExistsError), self._told("made"):  # another process may be faster
            atomic_write(self.path, _empty(is_logged=_journal(self.directory) == "WAL"), overwrite=False)

    def _left(self) -> list[str]:
        """Return what stands beside the file, in the order in which it is removed."""
        return [self.path + side for side in _SIDES if os.path.lexists(self.path + side)]

    def _remove_left(self) -> None:
        """Remove what was left when the file was removed: SQLite would take it for the new one's.

        Who makes the file meanwhile saw nothing left, or waits for the directory's lock. So what is left
        where there is no file is nobody's as long as the lock is held.
        """
        with _locked(self.directory), synced_directory(self.directory):
            for path in [] if os.path.lexists(self.path) else self._left():
                with suppress(FileNotFoundError):
                    os.unlink(path)

    def _is_current(self) -> bool:
        """Tell whether there is a connection, and it is to the file that stands at the path."""
        return self._connection is not None and self._identity == identity(self.path) is not None

    def _opened(self) -> sqlite3.Connection | None:
        if self._is_current():
            return self._connection
        self.close()
        refuse_no_directory(self.directory, self.directory)
        if not os.path.lexists(self.path):
            return None
        before = identity(self.path)  # if another stands there when it is connected, it is not current
        connection = _connected(self.path)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._finalizer = weakref.finalize(self, connection.close)
        self._connection, self._identity = connection, before
        return connection

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
        # A log may be given up, but where there is none the file may be in use over a network.
        is_shared = _journal(self.directory) != "WAL"
        wanted = "journal_mode=DELETE" if is_shared else "journal_mode"
        (mode,) = connection.execute(f"PRAGMA {wanted}").fetchone()
        if is_shared and mode != "wal":
            _warn(self.directory)
        # Without the log a commit is that the journal is removed, which lasts once its directory is fsynced.
        connection.execute(f"PRAGMA synchronous={'FULL' if mode == 'wal' else 'EXTRA'}")
        for barrier in ("fullfsync", "checkpoint_fullfsync"):  # of macOS, whose fsync leaves a drive's cache
            connection.execute(f"PRAGMA {barrier}=1")

    def _settle(self) -> None:
        """Bring to the disk what was read: the log, and the file's own name.

        The file itself is not opened: to close it would drop the locks that SQLite has on it
        (fcntl(2)), and all that is in it and not in the log has been fsynced.
        """
        # Where a link leads, there the log is.
        path = os.path.realpath(self.path) if os.path.islink(self.path) else self.path
        with suppress(FileNotFoundError):
            descriptor = open_to_sync(f"{path}-wal")
            try:
                sync_file(descriptor.fileno(), "full")
            finally:
                descriptor.close()
        for directory in dict.fromkeys((os.path.dirname(path), self.directory)):
            with synced_directory(directory):
                pass

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Make an error of the operating system of SQLite's."""
        try:
            yield
        except sqlite3.Error as error:
            extended = getattr(error, "sqlite_errorcode", None) or 0
            code = _ERRORS.get(extended & 0xFF, errno.EIO)
            advice = f"; {_ADVICE[code]}" if code in _ADVICE else ""
            message = f"directory={self.directory!r}: its {FILE} cannot be {what} ({error}){advice}"
            told = OSError(code, message, self.path)
            if extended in _UNSYNCED:
                vars(told)["outlive_durability"] = True  # Retry leaves such an error alone
            raise told from error


#: All of this process, and those of them that are paused while it forks.
_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_paused: list[Database] = []
_guard = threading.RLock()
_is_watching = False


def _watch(database: Database) -> None:
    """See to it that no child inherits a connection."""
    global _is_watching  # noqa: PLW0603 - what is registered stays
    with _guard:
        _databases.add(database)
        if not _is_watching and hasattr(os, "register_at_fork"):
            os.register_at_fork(before=_pause, after_in_parent=_resume, after_in_child=_start_anew)
            _is_watching = True


def _pause() -> None:
    interrupt = _wait_for(_guard)
    for database in list(_databases):
        interrupt = database.pause() or interrupt
        _paused.append(database)
    if interrupt is not None:
        raise interrupt  # Python reports it, and forks


def _resume() -> None:
    while _paused:
        _paused.pop().resume()
    _guard.release()


def _start_anew() -> None:
    global _guard  # noqa: PLW0603 - others may have waited for the old one, who are not here
    _guard = threading.RLock()
    while _paused:
        _paused.pop().start_anew()


def _wait_for(owned: threading.RLock) -> BaseException | None:
    """Take a lock, and return what interrupted that: the process is forked whatever is raised before."""
    interrupt = None
    while True:
        try:
            owned.acquire()
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises
            interrupt = error
        else:
            return interrupt


@contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Keep others that do so from a directory; where it cannot be locked, nothing can."""
    names = open_names(directory)
    try:
        end = time.monotonic() + _PATIENCE
        while names is not None and lock(names.fileno()) is False:
            if time.monotonic() > end:
                message = f"directory={directory!r}: {_ADVICE[errno.ETIMEDOUT]}"
                raise TimeoutError(errno.ETIMEDOUT, message, directory)
            time.sleep(_BETWEEN_LOOKS)
        yield
    finally:
        close_names(names)


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

    host = "//" if path.startswith("/") else ""  # none; left out, what follows two slashes would be one
    return sqlite3.connect(
        f"file:{host}{quote(os.fsencode(path))}?mode=rw",
        uri=True,
        timeout=_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
    )


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
