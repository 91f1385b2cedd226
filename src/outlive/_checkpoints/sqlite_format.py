"""The SQLite file that holds marks: its table, how it is opened, and what its errors mean."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from outlive._system.arguments import shown
from outlive._system.locks import is_local

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = "marks.sqlite"
SIDES = ("-wal", "-shm", "-journal")  # suffixes of the files that SQLite keeps beside it
_APPLICATION = 0x6F75_746C  # "outl", the application id in SQLite's header
_SCHEMA = 1
#: `part` is empty for a step, else "/" and the name of the step whose item this is. All names are UTF-8
#: blobs, as SQLite's text cannot hold every string of Python's, nor NUL.
_TABLE = """
CREATE TABLE marks (
    run BLOB NOT NULL, part BLOB NOT NULL, name BLOB NOT NULL, marked_at INTEGER NOT NULL, claims TEXT,
    PRIMARY KEY (run, part, name)
) WITHOUT ROWID
"""
#: Offset of the two bytes that show whether there is a log (https://sqlite.org/fileformat2.html).
_VERSIONS = 18
PATIENCE = 30.0  # seconds that another process may hold the file
#: The errno that stands for a primary result code (https://sqlite.org/rescode.html).
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
#: Extended result codes: the data, or the name, were not brought to the disk.
_UNSYNCED = (1034, 1290)  # SQLITE_IOERR_FSYNC, SQLITE_IOERR_DIR_FSYNC
TIMED_OUT = f"another process has held it for {PATIENCE:g} s"
_ADVICE = {
    errno.ETIMEDOUT: TIMED_OUT,
    errno.EBADMSG: f"move all files named {FILE}* away, and all steps run again; "
    "`sqlite3 FILE .recover` may save the marks",
}


def empty_file(*, is_logged: bool) -> bytes:
    """Return the content of a file with an empty table.

    Args:
        is_logged: Whether its commits go to a write-ahead log.
    """
    new = sqlite3.connect(":memory:", isolation_level=None)
    try:
        new.execute(f"PRAGMA application_id={_APPLICATION}")
        new.execute(f"PRAGMA user_version={_SCHEMA}")
        new.execute(_TABLE)
        content = bytearray(new.serialize())
    finally:
        new.close()
    if is_logged:  # the bytes that `journal_mode=WAL` would set
        content[_VERSIONS : _VERSIONS + 2] = b"\2\2"
    return bytes(content)


def connected(path: str) -> sqlite3.Connection:
    """Open an existing file; any thread may use the connection, one at a time."""
    from urllib.parse import quote  # noqa: PLC0415 - only for this store

    host = "//" if path.startswith("/") else ""  # an empty one; without it a path that begins with // has one
    return sqlite3.connect(
        f"file:{host}{quote(os.fsencode(path))}?mode=rw",
        uri=True,
        timeout=PATIENCE,
        isolation_level=None,
        check_same_thread=False,
    )


def prepare(connection: sqlite3.Connection, directory: str) -> None:
    """Refuse a file that this version did not make, and choose how a commit becomes durable.

    Raises:
        ValueError: The file is of another program, or of a newer version.
        sqlite3.Error: SQLite refuses.
    """
    (whose,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if whose != _APPLICATION:
        raise ValueError(f"directory={directory!r}: its {FILE} was not made by outlive")
    if schema > _SCHEMA:
        raise ValueError(
            f"directory={directory!r}: its {FILE} was made by a newer version of outlive (schema "
            f"{schema}; this one knows {_SCHEMA}): update outlive, or give another directory"
        )
    # A log can be given up; a file without one may be in use over a network, and gets none.
    is_shared = not may_log(directory)
    wanted = "journal_mode=DELETE" if is_shared else "journal_mode"
    (mode,) = connection.execute(f"PRAGMA {wanted}").fetchone()
    if is_shared and mode != "wal":
        _warn(directory)
    # Without a log, a commit removes the journal, which lasts once its directory is fsynced.
    connection.execute(f"PRAGMA synchronous={'FULL' if mode == 'wal' else 'EXTRA'}")
    for barrier in ("fullfsync", "checkpoint_fullfsync"):  # on macOS, fsync leaves data in the drive's cache
        connection.execute(f"PRAGMA {barrier}=1")


def may_log(directory: str) -> bool:
    """Return whether the file system allows a write-ahead log, which needs memory that all users share."""
    return sys.platform != "linux" or bool(is_local(directory))


def _warn(directory: str) -> None:
    message = (
        f"directory={shown(directory)} is on a network file system, or one without shared memory: marks are "
        "kept there without a write-ahead log, slowly, and two machines that write at the same time can "
        "damage them; give a directory on a local disk"
    )
    warnings.warn(message, RuntimeWarning, stacklevel=2)


@contextmanager
def translated(directory: str, what: str) -> Iterator[None]:
    """Raise an OSError instead of SQLite's error.

    Args:
        directory: The directory of the file.
        what: What cannot be done with the file, for the message.
    """
    try:
        yield
    except sqlite3.Error as error:
        extended = getattr(error, "sqlite_errorcode", None) or 0
        code = _ERRORS.get(extended & 0xFF, errno.EIO)
        advice = f"; {_ADVICE[code]}" if code in _ADVICE else ""
        message = f"directory={directory!r}: its {FILE} cannot be {what} ({error}){advice}"
        translation = OSError(code, message, os.path.join(directory, FILE))
        if extended in _UNSYNCED:
            vars(translation)["outlive_durability"] = True  # so that `Retry` does not retry it
        raise translation from error
