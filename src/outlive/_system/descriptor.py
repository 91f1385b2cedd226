"""File descriptors that close themselves from the moment they exist.

A signal handler may raise between any two instructions of Python: Ctrl-C, or a time limit by SIGALRM. A
handler that raises after `os.open` has returned and before the result is stored loses a bare number, and the
descriptor stays open until the process ends. So the system call and the object that owns its result are one
step here: `map` passes the result of the one to the other in C, where no handler runs.

The object closes its descriptor when the last reference to it goes. It does so in C as well: Python swallows
what a handler raises in a `__del__` method. The owner is an epoll object (Linux) or a kqueue object (macOS,
BSD) that was made by `fromfd`, which takes over any descriptor and makes no system call.
"""

from __future__ import annotations

import os
import select
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Descriptor(Protocol):
    """An open file descriptor, closed when this object is closed or no longer referenced."""

    def fileno(self) -> int:
        """Return the number.

        Raises:
            ValueError: The descriptor was closed.
        """

    def close(self) -> None:
        """Close the descriptor if it is open.

        Raises:
            OSError: The operating system reports an error of an earlier write.
        """


class _Number:
    """A descriptor on a platform with neither epoll nor kqueue: it does not close itself."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        if self._number < 0:
            raise ValueError("the descriptor is closed")
        return self._number

    def close(self) -> None:
        number, self._number = self._number, -1
        if number >= 0:
            os.close(number)


_MODE = (0o666,)  # of a new file, less the umask, as for `open`
_kind = getattr(select, "epoll", None) or getattr(select, "kqueue", None)
_owner: Callable[[int], Descriptor] = _Number if _kind is None else _kind.fromfd


def read_flags() -> int:
    """Return the flags to open what is to be fsynced: a link is refused, and a pipe does not block."""
    if sys.platform == "win32":  # whose fsync requires the right to write
        return os.O_RDWR | os.O_BINARY
    return os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


def opened(path: str, flags: int, *, dir_fd: int | None = None) -> Descriptor:
    """Open a path with the flags of `os.open`; started programs do not inherit the descriptor.

    Raises:
        OSError: The operating system refuses.
    """
    opens = os.open if dir_fd is None else partial(os.open, dir_fd=dir_fd)
    return next(map(_owner, map(opens, (path,), (flags,), _MODE)))


def open_into(
    held: list[Descriptor], path: str, flags: int, mode: int = 0o666, *, dir_fd: int | None = None
) -> None:
    """Open a path and append the descriptor to a list; after an interrupt the list shows whether it is open.

    Raises:
        OSError: The operating system refuses, and nothing was appended.
    """
    opens = os.open if dir_fd is None else partial(os.open, dir_fd=dir_fd)
    held.extend(map(_owner, map(opens, (path,), (flags,), (mode,))))


def duplicated(number: int) -> Descriptor:
    """Return a second descriptor of an open file.

    Raises:
        OSError: The operating system refuses.
    """
    return next(map(_owner, map(os.dup, (number,))))


def file_of(number: int, mode: str, **options: Any) -> Any:  # noqa: ANN401 - as `open` is typed by its mode
    """Return a file object, as `open` makes it, that owns a second descriptor of an open file.

    Raises:
        OSError: The operating system refuses.
    """
    return next(map(partial(open, mode=mode, **options), map(os.dup, (number,))))
