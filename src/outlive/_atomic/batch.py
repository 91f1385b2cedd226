"""`atomic_batch`: many files become durable together, so that there is one wait for the disk.

First all data are written. Then all files are fsynced, several at a time, so that the file system commits
them in groups. Then all files get their names, in order, and each directory is fsynced once.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar, overload

from outlive._system.arguments import checked_path
from outlive._system.descriptor import file_of, open_into
from outlive._system.durability import (
    PublishedNotDurableError,
    close_directory,
    sync_file,
    sync_many,
    synced_directory,
)

from .destination import Destination, checked_durable, checked_permissions, file_destination, identity
from .publish import closed_after, make_beside, rename_into_place, take_attributes, write_all
from .temporary import TemporaryDirectory, refuse_child, refuse_lost
from .text import checked_text_options, encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import BinaryIO, Literal, TextIO

    from outlive._system.descriptor import Descriptor

    from .destination import Durable, Identity

_Given = TypeVar("_Given")
_NAME = "outlive-batch"  # of the directory for unpublished files, one in each directory that is written to
_MOST_OPEN = 256  # files that wait for their fsync, each with a descriptor
_MADE_WITH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class IncompleteBatchError(OSError):
    """The files of a batch were finished, and some of them could not be renamed to their destinations.

    Attributes:
        published: The destinations that have their new content, in order. It lasts as the batch's durability
            promises, unless a note says otherwise.
        unpublished: The destinations that are as they were.
        filename: The destination at which the batch stopped.
    """

    published: tuple[str, ...] = ()
    unpublished: tuple[str, ...] = ()


@contextmanager
def atomic_batch(*, durable: Durable = "full", parents: bool = False) -> Iterator[Batch]:
    """Write many files, each whole or not at all, and wait for the disk once for all of them.

    What the body writes is kept in a directory `.outlive-batch.0.outlive-tmp` in each directory that it
    writes to. When the body ends, all files are fsynced, several at a time by up to 16 threads; then they are
    renamed to their destinations in the order in which they were written; then each directory is fsynced.

    For each file everything that `atomic_open` documents holds once the body has ended. For the whole batch:

    - If the body, a write or an fsync fails, no file is published; nor if a file is still open at the end.
    - A process that is killed has published the first few of them, or none, or all.
    - A power cut before the end may leave any of them published, each whole. So a file that says that others
      are there does not belong in the batch; write it after the batch has ended.

    One descriptor is held for each directory that is written to, and at most 256 for files.

    Args:
        durable: What must survive a power cut once the body has ended: "full", "file" or "none".
        parents: Whether missing directories are made.

    Returns:
        A context manager that yields a `Batch`.

    Raises:
        IncompleteBatchError: Some files could not be renamed to their destinations; it says which.
        ValueError: A file of the batch is still open; nothing is published.
        PublishedNotDurableError: All files were renamed, and only the fsync of a directory failed.
        OSError: As for `atomic_open`; nothing is published, and a note says so.
    """
    batch = Batch(checked_durable(durable), parents=parents)
    try:
        yield batch
        batch._finish()  # noqa: SLF001 - of this module
        batch._discard()  # noqa: SLF001 - of this module
    except BaseException as error:
        try:
            if not batch._has_published():  # noqa: SLF001 - of this module
                error.add_note("no file of the batch was written")
        finally:
            batch._discard()  # noqa: SLF001 - of this module
        raise
    # All names at once, including those of the temporary directories that are gone.
    batch._sync_directories()  # noqa: SLF001 - of this module


class _Draft:
    """A file that is being written, with its destination, its temporary directory and its path in that."""

    def __init__(self, resolved: Destination, temporary: TemporaryDirectory, inner: str) -> None:
        self.resolved, self.temporary, self.inner = resolved, temporary, inner
        self.held: list[Descriptor] = []

    @property
    def descriptor(self) -> int:
        """Return the file's descriptor."""
        return self.held[0].fileno()


class Batch:
    """Files that are written together; `atomic_batch` yields one, for one thread at a time."""

    def __init__(self, durable: str, *, parents: bool) -> None:
        self._durable = durable
        self._parents = parents
        self._directories: dict[str, TemporaryDirectory] = {}
        self._known: dict[Identity | None, str] = {}
        self._files: list[tuple[Destination, str, os.stat_result]] = []
        self._unsynced: list[Descriptor] = []
        self._made = 0
        self._open: list[_Draft] = []
        self._process = os.getpid()
        self._failed: BaseException | None = None
        self._is_finished = self._is_over = False
        self.published: list[str] = []

    def write(
        self,
        destination: str | os.PathLike[str],
        data: str | bytes | bytearray | memoryview,
        *,
        encoding: str | None = None,
        newline: str | None = None,
        overwrite: bool = True,
        permissions: int | None = None,
    ) -> None:
        """Write a file of the batch; the arguments are those of `atomic_write`."""
        content = encoded(data, encoding, newline)
        draft = self._begun(destination, overwrite, checked_permissions(permissions))
        try:
            self._make(draft)
            write_all(draft.descriptor, content)
            self._add(draft)
        except BaseException:
            self._remove(draft)
            raise
        self._sync_if_many()

    @overload
    def open(
        self,
        destination: str | os.PathLike[str],
        mode: Literal["w", "wt"] = "w",
        *,
        encoding: str | None = None,
        newline: str | None = None,
        overwrite: bool = True,
        permissions: int | None = None,
    ) -> AbstractContextManager[TextIO]: ...
    @overload
    def open(
        self,
        destination: str | os.PathLike[str],
        mode: Literal["wb"],
        *,
        overwrite: bool = True,
        permissions: int | None = None,
    ) -> AbstractContextManager[BinaryIO]: ...
    @contextmanager
    def open(
        self,
        destination: str | os.PathLike[str],
        mode: str = "w",
        *,
        encoding: str | None = None,
        newline: str | None = None,
        overwrite: bool = True,
        permissions: int | None = None,
    ) -> Iterator[Any]:
        """Open a file of the batch; the arguments are those of `atomic_open`.

        If the body fails and the caller catches the error, this file is not in the batch and the others are.
        """
        text_options = checked_text_options(mode, encoding, newline)
        draft = self._begun(destination, overwrite, checked_permissions(permissions))
        try:
            self._make(draft)
            file = self._with_descriptors(lambda: file_of(draft.descriptor, mode, **text_options))
            with closed_after(draft.temporary, file):
                yield file
            self._add(draft)
        except BaseException:
            self._remove(draft)
            raise
        self._sync_if_many()

    def _begun(
        self,
        destination: str | os.PathLike[str],
        overwrite: bool,  # noqa: FBT001 - passed on
        permissions: int | None,
    ) -> _Draft:
        """Resolve a destination, and provide the directory that keeps its new content."""
        refuse_child(self._process)  # before it takes a number that its parent will take
        path = checked_path("destination", destination)
        self._refuse_late(path)
        resolved, temporary = self._with_descriptors(lambda: self._resolved(path, overwrite=overwrite))
        self._made += 1
        inner = f"{temporary.path}{os.sep}{self._made}"
        return _Draft(resolved._replace(permissions=permissions), temporary, inner)

    def _make(self, draft: _Draft) -> None:
        self._open.append(draft)
        self._with_descriptors(lambda: open_into(draft.held, draft.inner, _MADE_WITH))

    def _with_descriptors(self, opens: Callable[[], _Given]) -> _Given:
        """Call a function that opens something; if no descriptor is free, close the waiting files first."""
        try:
            return opens()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._unsynced:
                raise
        self._sync_files()
        return opens()

    def _resolved(self, path: str, *, overwrite: bool) -> tuple[Destination, TemporaryDirectory]:
        resolved = file_destination(
            path, self._durable, overwrite=overwrite, parents=self._parents, known=self._known
        )
        close_directory(resolved.names)  # it can be opened, and is fsynced at the end
        return resolved, self._directory(resolved)

    def _refuse_late(self, path: str) -> None:
        if self._is_over:
            raise ValueError(f"destination={path!r} comes too late: the batch has ended")

    def _add(self, draft: _Draft) -> None:
        """Take a written file into the batch."""
        made = os.fstat(draft.descriptor)
        take_attributes(draft.descriptor, draft.resolved, made)
        self._refuse_late(draft.resolved.path)
        self._unsynced += draft.held
        self._files.append((draft.resolved, draft.inner, made))
        self._open.remove(draft)

    def _remove(self, draft: _Draft) -> None:
        """Remove a file from the batch; a forked child leaves it to its parent."""
        self._files = [one for one in self._files if one[1] != draft.inner]
        self._unsynced = [one for one in self._unsynced if one not in draft.held]
        self._open = [one for one in self._open if one is not draft]
        for descriptor in draft.held:
            descriptor.close()
        if draft.held and os.getpid() == self._process:
            with suppress(FileNotFoundError):  # it was removed with the batch
                os.unlink(draft.inner)

    def _directory(self, resolved: Destination) -> TemporaryDirectory:
        """Return the directory that keeps a destination's new content until it is published."""
        if resolved.directory not in self._directories:
            temporary = TemporaryDirectory()
            try:
                make_beside(temporary, resolved._replace(name=_NAME), 0o700)
                self._directories[resolved.directory] = temporary
            except BaseException:
                temporary.discard()
                raise
            if (known := identity(resolved.directory)) is not None:
                self._known[known] = resolved.directory
        return self._directories[resolved.directory]

    def _finish(self) -> None:
        refuse_child(self._process)
        self._is_over = True
        for draft in self._open:
            raise ValueError(f"destination={draft.resolved.path!r} is still open, and its batch ends")
        self._sync_files()
        for resolved, inner, made in self._files:
            refuse_lost(inner, made, resolved.path)
        self._is_finished = True
        for resolved, inner, made in self._files:
            try:
                rename_into_place(resolved, inner, made)
            except OSError as error:
                raise self._incomplete(resolved, error) from error
            self.published.append(resolved.path)

    def _has_published(self) -> bool:
        """Return whether a file has its name: an interrupt may come before that is noted."""
        return bool(self.published) or (
            self._is_finished and bool(self._files) and not os.path.lexists(self._files[0][1])
        )

    def _sync_if_many(self) -> None:
        """Bring the waiting files to the disk once there are many of them."""
        if len(self._unsynced) >= _MOST_OPEN:
            self._sync_files()

    def _sync_files(self) -> None:
        """Bring the waiting files to the disk; after a failure, everything that follows fails as well."""
        if self._failed is not None:
            raise self._failed
        try:
            sync_many(lambda descriptor: sync_file(descriptor.fileno(), self._durable), self._unsynced)
        except BaseException as error:
            self._failed = error
            raise
        finally:
            self._close()

    def _incomplete(self, at: Destination, cause: OSError) -> IncompleteBatchError:
        """Return the error of a batch that was published in part, once that part lasts."""
        paths = [resolved.path for resolved, *_ in self._files]
        count = len(self.published)
        message = f"destination={at.path!r}: {count} of {len(paths)} files of the batch were written"
        error = IncompleteBatchError(cause.errno, f"{message} ({cause.strerror})", at.target)
        error.published, error.unpublished = tuple(paths[:count]), tuple(paths[count:])
        if count:
            try:
                self._sync_directories()
            except OSError as failed:
                error.add_note(f"a power cut may undo those: {failed}")
        return error

    def _sync_directories(self) -> None:
        failed: OSError | None = None
        for directory in self._directories:
            try:
                with synced_directory(directory, durable=self._durable):
                    pass
            except OSError as error:
                failed = failed or error
        if failed is None:
            return
        if isinstance(failed, PublishedNotDurableError):
            raise failed
        message = f"the files were written, but a power cut may undo it: {failed.strerror}"
        raise PublishedNotDurableError(failed.errno, message, failed.filename) from failed

    def _discard(self) -> None:
        self._is_over = True
        self._close()
        for temporary in self._directories.values():
            temporary.discard()

    def _close(self) -> None:
        while self._unsynced:
            with suppress(OSError):
                self._unsynced.pop().close()
