"""Forks of a process that has SQLite files open: all connections are closed before, and opened again after.

A child must not have a connection of its parent's: SQLite would believe that it holds the parent's locks,
which a child does not inherit (fcntl(2), https://sqlite.org/howtocorrupt.html).
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .sqlite_file import Database

#: All databases of this process, and those that are paused while it forks.
_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_paused: list[Database] = []
_guard = threading.RLock()
_is_watching = False


def watch(database: Database) -> None:
    """Make sure that no child inherits a database's connection."""
    global _is_watching  # noqa: PLW0603 - what is registered stays
    with _guard:
        _databases.add(database)
        if not _is_watching and hasattr(os, "register_at_fork"):
            os.register_at_fork(before=_pause, after_in_parent=_resume, after_in_child=_start_anew)
            _is_watching = True


def take(owned: threading.RLock) -> BaseException | None:
    """Take a lock, and return what interrupted that: the process forks whatever is raised before."""
    interrupt = None
    while True:
        try:
            owned.acquire()
        except BaseException as error:  # noqa: BLE001 - whatever a signal handler raises
            interrupt = error
        else:
            return interrupt


def _pause() -> None:
    interrupt = take(_guard)
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
    global _guard  # noqa: PLW0603 - threads that do not exist here may wait for the old one
    _guard = threading.RLock()
    while _paused:
        _paused.pop().start_anew()
