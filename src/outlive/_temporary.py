"""Temporary files and directories of this process: made under a free name, locked, published or taken back.

A writer makes its file and then locks it: in between, another may take it for an orphan. So the writer looks,
once it has the lock, whether the name still stands for its file, and if not makes another. See `_orphans` for
the names, and for what is done with those of dead writers.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from ._descriptor import duplicated, open_into
from ._mounts import believes
from ._orphans import (
    LABELS,
    NOT_REMOVED,
    identity_of,
    lock,
    read_flags,
    remove,
    remove_further,
    remove_orphan,
    temporary_name,
    unlock,
)

if TYPE_CHECKING:
    from ._descriptor import Descriptor
    from ._orphans import Identity

_MADE_WITH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class Temporary:
    """A temporary file or directory of this process.

    The object exists before what it stands for. So whoever makes one can stand in a `try` block first, and
    `discard` takes back whatever was made, wherever an interrupt came.

    Attributes:
        path: where it is; "" before the first attempt to make it.
        process: who makes it, and alone may remove it.
        status: what it was when it was made; None before it is opened to be locked.
    """

    def __init__(self) -> None:
        self.path = ""
        self.process = os.getpid()
        self.status: os.stat_result | None = None
        self._kept: list[Descriptor] = []  # it, open: the lock's, and the one to be fsynced
        self._is_locked = self._is_released = False

    def make(self, directory: str, name: str, mode: int) -> None:
        """Make it for a destination, and remove what dead writers of that left under its names.

        Args:
            directory: Where.
            name: The destination's name.
            mode: The permissions, less the umask.

        Raises:
            OSError: The operating system refuses.
        """
        for number, label in enumerate(LABELS, start=1):
            self.path = f"{directory}{os.sep}{temporary_name(name, label)}"
            try:
                is_made = self._attempt(mode)
            except FileExistsError:
                if not remove_orphan(self.path):
                    continue
                remove_further(directory, name, LABELS[number:])
                try:
                    is_made = self._attempt(mode)
                except FileExistsError:
                    continue
            if is_made:
                return
        self.path = os.path.join(directory, temporary_name(name, os.urandom(8).hex()))
        with suppress(FileExistsError):
            if self._attempt(mode):
                return
        # Not FileExistsError, which says of a destination that it may not be replaced.
        raise OSError(errno.EBUSY, "no temporary name is free", directory)

    @property
    def descriptor(self) -> int:
        """Return the descriptor that holds the lock; -1 for a directory on Windows."""
        return self._kept[0].fileno() if self._kept else -1

    def is_ours(self) -> bool:
        """Tell whether this process made it. A child that was forked since did not."""
        return os.getpid() == self.process

    def is_at(self, path: str) -> bool:
        """Tell whether a name stands for it."""
        identity = self._identity()
        try:
            return identity is not None and identity_of(os.lstat(path)) == identity
        except OSError:
            return False

    def give_up(self, error: BaseException, destination: str, target: str) -> None:
        """Remove it, and note on an error that the destination was not written, unless it was.

        Args:
            error: What ended the body; it may be an interrupt that came just after the rename.
            destination: As it was given, for the note.
            target: The real path of the destination.
        """
        try:
            if self._is_made() and not self.is_at(target):
                error.add_note(f"destination={destination!r} was not written")
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove it, unless it has gone to its destination: its name may then be another's."""
        try:
            self._take_back()
        except BaseException:  # an interrupt, perhaps the second one
            self._take_back()
            raise

    def release(self) -> None:
        """Let go of the lock, also for children that were forked meanwhile and have the descriptor too."""
        was_released, self._is_released = self._is_released, True
        if self._is_locked and not was_released and self.is_ours():
            unlock(self.descriptor)
        self.close()

    def _attempt(self, mode: int) -> bool:
        """Make it and lock it; return False if somebody took it for an orphan in between."""
        self._create(mode)
        if self._is_had():
            return True
        self.release()
        self._forget()
        return False

    def _is_had(self) -> bool:
        """Take the lock of what was just made; return False if somebody took it for an orphan."""
        try:
            self._open_again()
        except FileNotFoundError:
            return False
        self.status = os.fstat(self.descriptor) if self._kept else os.lstat(self.path)
        # Where nothing tells whether locks are believed, others may know, and believe ours. On a network none
        # is taken: SMB would keep the writer's other descriptor from writing.
        if believes(self.path, self.status.st_dev) is not False and lock(self.descriptor) is False:
            return False
        self._is_locked = True
        # Not by the number of its links: there are file systems on which that is always 0.
        if self.is_at(self.path) and self._is_what_was_made():
            return True
        # Ours was removed. If another's has the name, not yet locked, who made it will give it up.
        self._take_back()
        return False

    def _take_back(self) -> None:
        if self._is_made() and not self._is_released and self.is_ours():
            with suppress(*NOT_REMOVED):
                self._remove()
        self.release()

    def _identity(self) -> Identity | None:
        return None if self.status is None else identity_of(self.status)

    def close(self) -> None:
        """Close all descriptors of it, and with them give up the lock, unless a child has them too."""
        for kept in self._kept:
            kept.close()

    def _forget(self) -> None:
        """Begin anew, after what was made was lost."""
        self._kept, self.status = [], None
        self._is_locked = self._is_released = False

    def _create(self, mode: int) -> None:
        raise NotImplementedError

    def _open_again(self) -> None:
        raise NotImplementedError

    def _is_made(self) -> bool:
        raise NotImplementedError

    def _is_what_was_made(self) -> bool:
        raise NotImplementedError

    def _remove(self) -> None:
        raise NotImplementedError


class TemporaryFile(Temporary):
    """A file.

    Args:
        alone: Whether nobody else gets the descriptor to write to. What two share, an fsync of one that
            failed can hide from the other (https://lwn.net/Articles/752063/), so that else the file is
            opened anew to be fsynced.
    """

    def __init__(self, *, alone: bool = False) -> None:
        super().__init__()
        self._is_alone = alone
        self._made: list[Descriptor] = []  # the descriptor that it was made with, once there is one

    @classmethod
    def taken_over(cls, path: str, made: list[Descriptor], process: int, *, is_locked: bool) -> TemporaryFile:
        """Return what stands for a file that was made, if it was, and perhaps locked, by other means."""
        temporary = cls()
        temporary.path, temporary.process = path, process
        temporary._made, temporary._kept, temporary._is_locked = made, made, is_locked
        return temporary

    @property
    def writer(self) -> int:
        """Return the descriptor that it was made with, to write to."""
        return self._made[0].fileno()

    def close_writer(self) -> None:
        """Close the descriptor to write to.

        Raises:
            OSError: The operating system reports an error of an earlier write.
        """
        self._made[0].close()

    def _create(self, mode: int) -> None:
        open_into(self._made, self.path, _MADE_WITH, mode)

    def _open_again(self) -> None:
        if not self._is_alone:
            with suppress(PermissionError):  # a umask that leaves its maker no right to read
                open_into(self._kept, self.path, read_flags())
                return
        self._kept.append(duplicated(self.writer))

    def _is_made(self) -> bool:
        return bool(self._made)

    def _is_what_was_made(self) -> bool:
        return identity_of(os.fstat(self.writer)) == self._identity()

    def _identity(self) -> Identity | None:
        if self.status is None and self._made and not self._is_released:
            return identity_of(os.fstat(self.writer))
        return super()._identity()

    def _remove(self) -> None:
        # Through the descriptor that may have the lock already: an interrupt may come before that is noted.
        descriptor = self.descriptor if self._kept else self.writer
        if self.is_at(self.path) and (self._is_locked or lock(descriptor) is not False):
            os.unlink(self.path)

    def close(self) -> None:
        for made in self._made:
            with suppress(OSError):  # of a write: who publishes has closed it before
                made.close()
        super().close()

    def _forget(self) -> None:
        self._made = []
        super()._forget()


class TemporaryDirectory(Temporary):
    """A directory."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[None] = []  # None, once it is made

    def _create(self, mode: int) -> None:
        # In one step, as `open_into` does for a file: after an interrupt it is known whether it was made.
        self._made.extend(map(os.mkdir, (self.path,), (mode,)))

    def _open_again(self) -> None:
        if sys.platform != "win32":  # where a directory cannot be opened
            open_into(self._kept, self.path, read_flags())

    def _is_made(self) -> bool:
        return bool(self._made)

    def _is_what_was_made(self) -> bool:
        return True

    def _remove(self) -> None:
        if self.status is None:
            os.rmdir(self.path)  # it holds nothing yet
        elif self.is_at(self.path) and (self._is_locked or lock(self.descriptor) is not False):
            remove(self.path, self.descriptor)

    def _forget(self) -> None:
        self._made = []
        super()._forget()


def refuse_child(process: int) -> None:
    """Raise in a process that was forked in the body: what it was forked from publishes, or does not."""
    if os.getpid() != process:
        raise RuntimeError("this process was forked in the body; only the one that entered it can end it")


def refuse_lost(temporary: str, made: os.stat_result, path: str, *, names: int | None = None) -> None:
    """Raise if what stands under a temporary's name is not what its writer made there.

    No writer removes another's; but a person may, or a program that tidies up. What another writer has made
    there since would be published in the place of it.

    Args:
        temporary: The name.
        made: What its writer made.
        path: The destination, for the message.
        names: Of a name without a directory: that, open.

    Raises:
        FileNotFoundError: It is not that.
    """
    try:
        there = os.lstat(temporary, dir_fd=names)
    except FileNotFoundError:
        pass
    else:
        if there.st_ino == made.st_ino and there.st_dev == made.st_dev:
            return
    raise lost(path)


def lost(path: str) -> FileNotFoundError:
    """Return the error of a destination whose temporary is not there any more."""
    message = f"destination={path!r} was not written: somebody removed its temporary file"
    return FileNotFoundError(errno.ENOENT, message, path)
