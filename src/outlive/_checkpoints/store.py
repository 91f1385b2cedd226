"""The interface of the stores of marks: marker files, and the SQLite file."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from outlive._system.arguments import shown
from outlive._system.durability import synced_directory

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from contextlib import AbstractContextManager

#: The schema that this version writes; a mark of a later one is not judged.
SCHEMA = 1
#: The fields of a mark's record that hold facts of files, by path.
FILES = ("inputs", "outputs")
#: All fields of a record, in their order. `run_steps` knows what a step comes after. The record of an item
#: holds a digest of what its step declared.
RECORD = (*FILES, "params", "version", "after", "declared")


class StoredMark(NamedTuple):
    """What a store has under a name.

    Attributes:
        problem: why it does not count as a mark; "" if it does.
        record: what it vouches for: files, parameters, a version.
        written_at: when it was written, in ns, by the clock of the marks' file system; 0 without files.
    """

    problem: str
    record: Mapping[str, Any]
    written_at: int = 0


#: A mark that has a name and vouches for nothing.
PLAIN = StoredMark("", {})
UNMARKED = StoredMark("it is not marked", {})


class Store(Protocol):
    """The marks of one run's steps, or of the items of one step."""

    @property
    def known(self) -> Container[str]:
        """Return names that are marked, durably, and vouch for nothing: the same object each time."""

    def look(self, name: str) -> StoredMark: ...

    def refresh(self) -> None:
        """Read what other processes have marked by now."""

    def settle(self, name: str) -> None:
        """Bring a mark that was seen to the disk: its maker may have been killed before the fsync."""

    def check(self, name: str) -> None:
        """Raise if a name cannot be marked or forgotten."""

    def put(self, name: str, record: Mapping[str, Any]) -> None: ...

    def group(self, most: int) -> AbstractContextManager[None]: ...

    def names(self) -> list[str]:
        """Return the marked names, sorted."""

    def forget(self, name: str | None) -> None:
        """Remove a mark and those of its items, or all marks, durably."""

    def items(self, name: str) -> Store: ...

    def runs(self) -> list[str]:
        """Return the ids of all runs in the directory, sorted."""

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield a description of each mark, steps before items."""


def opened_store(store: str, directory: str, run_id: str) -> Store:
    """Return the marks of a run's steps in a store.

    Raises:
        ValueError: The store is unknown.
    """
    if store == "sqlite":
        from .sqlite_marks import SqliteMarks  # noqa: PLC0415 - only for this store

        return SqliteMarks(directory, run_id)
    if store != "files":
        raise ValueError(f"store={shown(store)} is not one of 'files', 'sqlite'")
    from .marker_files import MarkerFiles  # noqa: PLC0415 - likewise

    return MarkerFiles(directory, run_id)


def make_directory(path: str) -> None:
    """Make a directory that lasts, in an existing directory.

    The parent is fsynced even if the directory exists: the process that made it may have been killed before
    its fsync.

    Raises:
        FileNotFoundError: The parent does not exist.
        OSError: The operating system refuses.
    """
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        message = (
            f"directory={path!r} cannot be made, because its own directory does not exist; create that first"
        )
        raise FileNotFoundError(errno.ENOENT, message, parent)
    try:
        with synced_directory(parent), suppress(FileExistsError):  # another process may be faster
            if not os.path.isdir(path):
                os.mkdir(path)
    except PermissionError:
        # No checkpoint ever made a directory in a parent that cannot be opened.
        if not os.path.isdir(path):
            raise


def refuse_other_than_directory(directory: str, path: str) -> None:
    """Refuse a path at which something else than a directory stands.

    Raises:
        NotADirectoryError: Something else stands there.
    """
    if os.path.lexists(path) and not os.path.isdir(path):
        message = f"directory={directory!r} cannot hold checkpoints: this is not a directory"
        raise NotADirectoryError(errno.ENOTDIR, message, path)
