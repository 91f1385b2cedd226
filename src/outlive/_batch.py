"""Many files made durable together: to wait for the disk once costs less than to wait for each.

First all data are written, then all files are fsynced, several at a time, so that the file system commits
them in groups; then all get their names, in order; then each directory is fsynced once.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ._atomic import checked_text_options, encoded, given, make_in_place, rename_into_place, write_all
from ._attributes import keep_attributes, set_mode
from ._descriptor import file_of, open_into
from ._durable import PublishedNotDurableError, close_names, overlapped, sync_file, synced_directory
from ._place import Place, checked_durable, checked_path, checked_permissions, file_place, identity
from ._temporary import TemporaryDirectory, refuse_child, refuse_lost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import BinaryIO, Literal, TextIO

    from ._descriptor import Descriptor
    from ._place import Durable, Identity

_Given = TypeVar("_Given")
_NAME = "outlive-batch"  # of the directory that holds what is not published yet, in each that is written to
_MOST_OPEN = 256  # files that wait for their fsync, each with a descriptor
_MADE_WITH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


class IncompleteBatchError(OSError):
    """The files of a batch were finished, but not all could be renamed into place.

    Attributes:
        published: The destinations that have their new content, in order. It lasts as the batch's
            durability says, unless a note says otherwise.
        unpublished: Those that are as they were.
        filename: The one at which it stopped.
    """

    published: tuple[str, ...] = ()
    unpublished: tuple[str, ...] = ()


@contextmanager
def atomic_batch(*, durable: Durable = "full", parents: bool = False) -> Iterator[Batch]:
    """Write many files, each whole or not at all, and wait for the disk once for all of them.

    What the body writes is kept in a directory `.outlive-batch.0.outlive-tmp` in each directory that it
    writes to. When the body ends, all files are fsynced, several at a time by up to 16 threads; then
    they are renamed into place in the order in which they were written; then each directory is fsynced.

    For each file all that `atomic_open` says holds once the body has ended. For all of them together:

    - If the body, a write or an fsync fails, none is published; nor if a file is still open at the end.
    - A process that is killed has published the first few of them, or none, or all.
    - A power cut before the end may leave any of them published, each whole. So a file that says that
      others are there does not belong into the batch; write it when the batch has ended.

    One descriptor is held for each directory that is written to, and at most 256 for files.

    Args:
        durable: What must survive a power cut once the body has ended: "full", "file" or "none".
        parents: Whether missing directories are made.

    Returns:
        A context manager that gives a `Batch`.

    Raises:
        IncompleteBatchError: Not all could be renamed into place; it says which.
        ValueError: A file of the batch is still open; nothing is published.
        PublishedNotDurableError: All were, and only the fsync of a directory failed.
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
    # All names at once, those of the temporary directories that are gone too.
    batch._sync_directories()  # noqa: SLF001 - of this module


class _Draft:
    """A file that is being written: its destination, the directory that it is in, its path, and it, open."""

    def __init__(self, place: Place, temporary: TemporaryDirectory, inner: str) -> None:
        self.place, self.temporary, self.inner = place, temporary, inner
        self.held: list[Descriptor] = []

    @property
    def descriptor(self) -> int:
        """Return the file's descriptor."""
        return self.held[0].fileno()


class Batch:
    """Files that are written together; `atomic_batch` gives one, for one thread at a time."""

    def __init__(self, durable: str, *, parents: bool) -> None:
        self._durable = durable
        self._parents = parents
        self._directories: dict[str, TemporaryDirectory] = {}
        self._known: dict[Identity | None, str] = {}
        self._files: list[tuple[Place, str, os.stat_result]] = []
        self._unsynced: list[Descriptor] = []
        self._made = 0
        self._under_way: list[_Draft] = []
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
        self._sync_many()

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

        Where the body fails and that is caught, this file is not in the batch and the others are.
        """
        text_options = checked_text_options(mode, encoding, newline)
        draft = self._begun(destination, overwrite, checked_permissions(permissions))
        try:
            self._make(draft)
            file = self._despite_those_that_wait(lambda: file_of(draft.descriptor, mode, **text_options))
            with given(draft.temporary, file):
                yield file
            self._add(draft)
        except BaseException:
            self._remove(draft)
            raise
        self._sync_many()

    def _begun(
        self,
        destination: str | os.PathLike[str],
        overwrite: bool,  # noqa: FBT001 - handed on
        permissions: int | None,
    ) -> _Draft:
        """Resolve a destination, and see to the directory that keeps its new content."""
        refuse_child(self._process)  # before it takes a number that its parent will
        path = checked_path("destination", destination)
        self._refuse_late(path)
        place, temporary = self._despite_those_that_wait(lambda: self._placed(path, overwrite=overwrite))
        place = place._replace(permissions=permissions)
        self._made += 1
        return _Draft(place, temporary, f"{temporary.path}{os.sep}{self._made}")

    def _make(self, draft: _Draft) -> None:
        self._under_way.append(draft)
        self._despite_those_that_wait(lambda: open_into(draft.held, draft.inner, _MADE_WITH))

    def _despite_those_that_wait(self, opens: Callable[[], _Given]) -> _Given:
        """Open something; if there is no descriptor left, those that wait are brought to the disk first."""
        try:
            return opens()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._unsynced:
                raise
        self._sync_files()
        return opens()

    def _placed(self, path: str, *, overwrite: bool) -> tuple[Place, TemporaryDirectory]:
        place = file_place(path, self._durable, overwrite=overwrite, parents=self._parents, known=self._known)
        close_names(place.names)  # that it can be opened is known; it is fsynced at the end
        return place, self._directory(place)

    def _refuse_late(self, path: str) -> None:
        if self._is_over:
            raise ValueError(f"destination={path!r} comes too late: the batch has ended")

    def _add(self, draft: _Draft) -> None:
        """Take a file that is written into the batch."""
        _finish(draft.place, draft.descriptor)
        self._refuse_late(draft.place.path)
        made = os.fstat(draft.descriptor)
        self._unsynced += draft.held
        self._files.append((draft.place, draft.inner, made))
        self._under_way.remove(draft)

    def _remove(self, draft: _Draft) -> None:
        """Remove a file that is not to be in the batch; in a child it is its parent's."""
        self._files = [one for one in self._files if one[1] != draft.inner]
        self._unsynced = [one for one in self._unsynced if one not in draft.held]
        self._under_way = [one for one in self._under_way if one is not draft]
        for descriptor in draft.held:
            descriptor.close()
        if draft.held and os.getpid() == self._process:
            with suppress(FileNotFoundError):  # it went with the batch
                os.unlink(draft.inner)

    def _directory(self, place: Place) -> TemporaryDirectory:
        """Return the directory in which a destination's new content is kept until it is published."""
        if place.directory not in self._directories:
            temporary = TemporaryDirectory()
            try:
                make_in_place(temporary, place._replace(name=_NAME), 0o700)
                self._directories[place.directory] = temporary
            except BaseException:
                temporary.discard()
                raise
            if (known := identity(place.directory)) is not None:
                self._known[known] = place.directory
        return self._directories[place.directory]

    def _finish(self) -> None:
        refuse_child(self._process)
        self._is_over = True
        for draft in self._under_way:
            raise ValueError(f"destination={draft.place.path!r} is still open, and its batch ends")
        self._sync_files()
        for place, inner, made in self._files:
            refuse_lost(inner, made, place.path)
        self._is_finished = True
        for place, inner, made in self._files:
            try:
                rename_into_place(place, inner, made)
            except OSError as error:
                raise self._incomplete(place, error) from error
            self.published.append(place.path)

    def _has_published(self) -> bool:
        """Tell whether a file has its name: an interrupt may come before that is noted."""
        return bool(self.published) or (
            self._is_finished and bool(self._files) and not os.path.lexists(self._files[0][1])
        )

    def _sync_many(self) -> None:
        """Bring what waits for that to the disk once so many files wait."""
        if len(self._unsynced) >= _MOST_OPEN:
            self._sync_files()

    def _sync_files(self) -> None:
        """Bring to the disk what waits for that; once this has failed, whatever follows fails as well."""
        if self._failed is not None:
            raise self._failed
        try:
            overlapped(lambda descriptor: sync_file(descriptor.fileno(), self._durable), self._unsynced)
        except BaseException as error:
            self._failed = error
            raise
        finally:
            self._close()

    def _incomplete(self, at: Place, cause: OSError) -> IncompleteBatchError:
        """Return the error of a batch that is published in part, which by now lasts."""
        paths = [place.path for place, *_ in self._files]
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


def _finish(place: Place, descriptor: int) -> None:
    """Give a file that was written what the one that it replaces has."""
    if place.old is not None:
        keep_attributes(descriptor, place.target, place.old, os.fstat(descriptor))
    if place.permissions is not None:
        set_mode(descriptor, place.permissions)
