"""What keeps marks: marker files, or one SQLite file. `Checkpoints` says what a mark is worth."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ._durable import synced_directory
from ._place import shown

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from contextlib import AbstractContextManager

#: What this version writes; what a later one wrote is not judged.
SCHEMA = 1


class Seen(NamedTuple):
    """What a store has under a name.

    Attributes:
        doubt: why it is no mark; "" if it is one.
        claims: what it vouches for: outputs, parameters, a version.
        since: when it was written, in ns, by the clock of the markers' file system; only if it has outputs.
    """

    doubt: str
    claims: Mapping[str, Any]
    since: int = 0


#: A mark that says its name and nothing else.
PLAIN = Seen("", {})
UNMARKED = Seen("it is not marked", {})


class Store(Protocol):
    """The marks of one run's steps, or of the items of one step."""

    @property
    def known(self) -> Container[str]:
        """Return names that are marked, durably, and vouch for nothing: the same object each time."""

    def look(self, name: str) -> Seen: ...

    def refresh(self) -> None:
        """See from now on what other processes have marked by now."""

    def settle(self, name: str) -> None:
        """Bring a mark that was seen to the disk: who made it may have been killed before it was there."""

    def check(self, name: str) -> None:
        """Raise if a name cannot be marked or forgotten."""

    def put(self, name: str, claims: Mapping[str, Any]) -> None: ...

    def group(self, most: int) -> AbstractContextManager[None]: ...

    def names(self) -> list[str]:
        """Return the names of what is marked, sorted."""

    def forget(self, name: str | None) -> None:
        """Remove a mark and its items', or all of them, durably."""

    def items(self, name: str) -> Store: ...

    def runs(self) -> list[str]:
        """Return the ids of all runs in the directory, sorted."""

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield what there is to tell of each mark, steps before items."""


def make_directory(path: str) -> None:
    """Make a directory that lasts, in a directory that exists.

    The parent is fsynced also if the directory is there already: whoever made it may have been killed
    between the two.

    Raises:
        FileNotFoundError: Its parent does not exist.
        OSError: The operating system refuses.
    """
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        message = f"directory={path!r} has no directory to be made in; create it first"
        raise FileNotFoundError(errno.ENOENT, message, parent)
    try:
        with synced_directory(parent), suppress(FileExistsError):  # another process may be faster
            if not os.path.isdir(path):
                os.mkdir(path)
    except PermissionError:
        # A parent that cannot be opened is one that no checkpoint ever made a directory in.
        if not os.path.isdir(path):
            raise


def refuse_no_directory(directory: str, path: str) -> None:
    """Raise if something else stands where a directory of marks should be.

    Raises:
        NotADirectoryError: It does.
    """
    if os.path.lexists(path) and not os.path.isdir(path):
        message = f"directory={directory!r} cannot hold checkpoints: this is not a directory"
        raise NotADirectoryError(errno.ENOTDIR, message, path)


def checked_string(argument: str, value: object) -> str:
    """Return a string as a plain one, or refuse what is none: in an f-string, a `str, Enum` gives another.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{argument}={shown(value)} is not a string")
    return str.__str__(value)
