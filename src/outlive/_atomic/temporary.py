"""Temporary files and directories of this process: made under a free name, locked, then published or removed.

A writer makes its file and then locks it. In between, another process may take the file for an orphan. So the
writer checks, lock in hand, that the name still stands for its file, and makes another if not. See `orphans`
for the names, and for the temporaries of dead writers.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from outlive._system.descriptor import duplicated, open_into, read_flags
from outlive._system.locks import believes, lock, unlock

from .orphans import (
    LABELS,
    NOT_REMOVED,
    identity_of,
    remove,
    remove_further,
    remove_orphan,
    temporary_name,
)

if TYPE_CHECKING:
    from outlive._system.descriptor import Descriptor

    from .orphans import Identity

_MADE_WITH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class Temporary:
    """A temporary file or directory of this process.

    The object exists before the file or directory does. So its user can enter a `try` block first, and
    `discard` removes whatever was made, wherever an interrupt came.

    Attributes:
        path: the path of it; "" before the first attempt to make it.
        process: the process that makes it, and alone may remove it.
        status: its status when it was made; None before it is opened to be locked.
    """

    def __init__(self) -> None:
        self.path = ""
        self.process = os.getpid()
        self.status: os.stat_result | None = None
        self._kept: list[Descriptor] = []  # the descriptor that holds the lock, and that is fsynced
        self._is_locked = self._is_released = False

    def make(self, directory: str, name: str, mode: int) -> None:
        """Make it for a destination, and remove what dead writers of that destination left.

        Args:
            directory: The destination's directory.
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
        # Not FileExistsError, which means that the destination exists and may not be replaced.
        raise OSError(errno.EBUSY, "no temporary name is free", directory)

    @property
    def descriptor(self) -> int:
        """Return the descriptor that holds the lock; -1 for a directory on Windows."""
        return self._kept[0].fileno() if self._kept else -1

    def refuse_child(self) -> None:
        """Refuse to publish in a process that was forked in the body.

        Raises:
            RuntimeError: This is not the process that made it.
        """
        refuse_child(self.process)

    def is_ours(self) -> bool:
        """Return whether this process made it, and not the process that this one was forked from."""
        return os.getpid() == self.process

    def is_at(self, path: str) -> bool:
        """Return whether a path leads to it."""
        identity = self._identity()
        try:
            return identity is not None and identity_of(os.lstat(path)) == identity
        except OSError:
            return False

    def give_up(self, error: BaseException, destination: str, target: str) -> None:
        """Remove it, and note on an error that the destination was not written, unless it was.

        Args:
            error: The error that ended the body; it may be an interrupt just after the rename.
            destination: The destination as it was given, for the note.
            target: The real path of the destination.
        """
        try:
            if self._is_made() and not self.is_at(target):
                error.add_note(f"destination={destination!r} was not written")
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove it, unless it was published: another temporary may have its name then."""
        try:
            self._take_back()
        except BaseException:  # an interrupt, perhaps the second one
            self._take_back()
            raise

    def release(self) -> None:
        """Release the lock, also for children that were forked meanwhile and share the descriptor."""
        was_released, self._is_released = self._is_released, True
        if self._is_locked and not was_released and self.is_ours():
            unlock(self.descriptor)
        self.close()

    def close(self) -> None:
        """Close its descriptors; the lock is released if no child shares them."""
        for kept in self._kept:
            kept.close()

    def _attempt(self, mode: int) -> bool:
        """Make it and lock it; return False if another process took it for an orphan in between."""
        self._create(mode)
        if self._has_lock():
            return True
        self.release()
        self._forget()
        return False

    def _has_lock(self) -> bool:
        """Lock what was just made; return False if another process took it for an orphan."""
        try:
            self._open_again()
        except FileNotFoundError:
            return False
        self.status = os.fstat(self.descriptor) if self._kept else os.lstat(self.path)
        # Where nothing shows whether locks are believed, other processes may know, and believe this one. Over
        # a network none is taken: SMB would keep the writer's other descriptor from writing.
        directory = os.path.dirname(self.path)
        if believes(directory, self.status.st_dev) is not False and lock(self.descriptor) is False:
            return False
        self._is_locked = True
        # The number of links does not show it: on some file systems it is always 0.
        if self.is_at(self.path) and self._is_what_was_made():
            return True
        # The file was removed. If another file has its name and is not locked yet, its maker will find this
        # lock, and make another one.
        self._take_back()
        return False

    def _take_back(self) -> None:
        if self._is_made() and not self._is_released and self.is_ours():
            with suppress(*NOT_REMOVED):
                self._remove()
        self.release()

    def _identity(self) -> Identity | None:
        return None if self.status is None else identity_of(self.status)

    def _forget(self) -> None:
        """Begin anew after what was made was lost."""
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
    """A temporary file.

    Args:
        alone: Whether no other code gets the descriptor to write to. If two share an open file, an fsync of
            the one can hide a failure from the other (https://lwn.net/Articles/752063/); so otherwise the
            file is opened a second time to be fsynced.
    """

    def __init__(self, *, alone: bool = False) -> None:
        super().__init__()
        self._is_alone = alone
        self._made: list[Descriptor] = []  # the descriptor that made the file, once there is one

    @classmethod
    def taken_over(cls, path: str, made: list[Descriptor], process: int, *, is_locked: bool) -> TemporaryFile:
        """Return the object for a file that other code made, if it did, and perhaps locked."""
        temporary = cls()
        temporary.path, temporary.process = path, process
        temporary._made, temporary._kept, temporary._is_locked = made, made, is_locked
        return temporary

    @property
    def writer(self) -> int:
        """Return the descriptor that made the file, to write to."""
        return self._made[0].fileno()

    def close_writer(self) -> None:
        """Close the descriptor to write to.

        Raises:
            OSError: The operating system reports an error of an earlier write.
        """
        self._made[0].close()

    def close(self) -> None:
        for made in self._made:
            with suppress(OSError):  # of an earlier write: code that publishes has closed the writer before
                made.close()
        super().close()

    def _create(self, mode: int) -> None:
        open_into(self._made, self.path, _MADE_WITH, mode)

    def _open_again(self) -> None:
        if not self._is_alone:
            with suppress(PermissionError):  # the umask leaves the owner no right to read
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
        # By the descriptor that may have the lock already: an interrupt may come before that is noted.
        descriptor = self.descriptor if self._kept else self.writer
        if self.is_at(self.path) and (self._is_locked or lock(descriptor) is not False):
            os.unlink(self.path)

    def _forget(self) -> None:
        self._made = []
        super()._forget()


class TemporaryDirectory(Temporary):
    """A temporary directory."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[None] = []  # [None] once the directory is made

    def _create(self, mode: int) -> None:
        # In one step, as `open_into` does for a file: after an interrupt the list shows whether it was made.
        self._made.extend(map(os.mkdir, (self.path,), (mode,)))

    def _open_again(self) -> None:
        if sys.platform != "win32":  # which cannot open a directory
            open_into(self._kept, self.path, read_flags())

    def _is_made(self) -> bool:
        return bool(self._made)

    def _is_what_was_made(self) -> bool:
        return True

    def _remove(self) -> None:
        if self.status is None:
            os.rmdir(self.path)  # it is empty
        elif self.is_at(self.path) and (self._is_locked or lock(self.descriptor) is not False):
            remove(self.path, self.descriptor)

    def _forget(self) -> None:
        self._made = []
        super()._forget()


def refuse_child(process: int) -> None:
    """Refuse to end a body in a process that was forked in it: the parent publishes, or does not.

    Raises:
        RuntimeError: This is not the process that entered the body.
    """
    if os.getpid() != process:
        raise RuntimeError("this process was forked in the body; only the process that entered it can end it")


def refuse_lost(temporary: str, made: os.stat_result, path: str, *, names: int | None = None) -> None:
    """Refuse to publish what is not the file that the writer made.

    No writer removes the temporary of another; but a person may, or a program that tidies up. What another
    writer has made under that name since would be published instead.

    Args:
        temporary: The temporary's path.
        made: The status of what its writer made.
        path: The destination, for the message.
        names: The descriptor of the directory, if *temporary* is a name in it.

    Raises:
        FileNotFoundError: Something else, or nothing, has the path.
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
    """Return the error of a destination whose temporary was removed."""
    message = f"destination={path!r} was not written: another program removed its temporary file"
    return FileNotFoundError(errno.ENOENT, message, path)
