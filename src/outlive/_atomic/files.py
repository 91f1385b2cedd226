"""`atomic_write` and `atomic_open`: a temporary file, brought to the disk, then renamed to the destination.

The order of the system calls is open (O_EXCL), write, fchown, fsetxattr, fchmod, fsync, rename, fsync of the
directory. Leaving out any of them loses data on some file system: T. S. Pillai et al., "All File Systems Are
Not Created Equal", OSDI 2014 (the ALICE study); rename(2) and fsync(2).
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, overload

from outlive._system.arguments import checked_path
from outlive._system.descriptor import file_of
from outlive._system.durability import close_directory, sync_directory

from .destination import Destination, checked_durable, checked_permissions, file_destination
from .fast_write import fast_write
from .publish import closed_after, finish, make_beside, rename_into_place, write_all
from .temporary import TemporaryFile, refuse_lost
from .text import checked_text_options, encoded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import BinaryIO, Literal, TextIO

    from .destination import Durable


def atomic_write(
    destination: str | os.PathLike[str],
    data: str | bytes | bytearray | memoryview,
    *,
    encoding: str | None = None,
    newline: str | None = None,
    durable: Durable = "full",
    overwrite: bool = True,
    parents: bool = False,
    permissions: int | None = None,
) -> None:
    r"""Replace a file's content as a whole: a reader, or a crash, finds the old content or the new.

    Args:
        destination: The file to write. Everything that `atomic_open` documents holds here as well.
        data: The whole new content: text, or bytes.
        encoding: The encoding of text; None means UTF-8. Bytes take none.
        newline: What replaces each `"\n"` in text, as for `open`. Bytes take none.
        durable: What must survive a power cut once this returns: "full", "file" or "none".
        overwrite: Whether an existing file may be replaced.
        parents: Whether missing directories are made.
        permissions: The permissions of the file, such as 0o600, from its first byte on. None keeps those of
            the file that is replaced, and leaves a new file what the umask allows of 0o666.

    Raises:
        TypeError: The data are neither text nor contiguous bytes, or the destination is not a path.
        ValueError: The destination is empty or an impossible name; or an option is wrong, or is for text
            while the data are bytes.
        UnicodeEncodeError: The encoding has no bytes for a character, such as a lone surrogate of a file's
            name. Give `data.encode("utf-8", "surrogateescape")`.
        OSError: As for `atomic_open`.
    """
    path = checked_path("destination", destination)
    content = encoded(data, encoding, newline)
    level, bits = checked_durable(durable), checked_permissions(permissions)
    if overwrite and not parents and bits is None and fast_write(path, content, level):
        return
    resolved = file_destination(path, level, overwrite=overwrite, parents=parents)
    draft = _Draft(resolved._replace(permissions=bits), alone=True)
    try:
        draft.make()
        write_all(draft.temporary.writer, content)
        draft.temporary.close_writer()
        draft.publish()
    except BaseException as error:
        draft.give_up(error)
        raise


@overload
def atomic_open(
    destination: str | os.PathLike[str],
    mode: Literal["w", "wt"] = "w",
    *,
    encoding: str | None = None,
    newline: str | None = None,
    durable: Durable = "full",
    overwrite: bool = True,
    parents: bool = False,
    permissions: int | None = None,
) -> AbstractContextManager[TextIO]: ...
@overload
def atomic_open(
    destination: str | os.PathLike[str],
    mode: Literal["wb"],
    *,
    durable: Durable = "full",
    overwrite: bool = True,
    parents: bool = False,
    permissions: int | None = None,
) -> AbstractContextManager[BinaryIO]: ...
@contextmanager
def atomic_open(
    destination: str | os.PathLike[str],
    mode: str = "w",
    *,
    encoding: str | None = None,
    newline: str | None = None,
    durable: Durable = "full",
    overwrite: bool = True,
    parents: bool = False,
    permissions: int | None = None,
) -> Iterator[Any]:
    r"""Open a file that replaces its destination as a whole: everything that the body writes, or nothing.

    The body writes a temporary file beside the destination, `.NAME.0.outlive-tmp`. When the body ends, the
    file is flushed, given its attributes, brought to the disk and renamed to the destination. An exception in
    the body, including Ctrl-C and the cancellation of a task, leaves the destination as it was and no
    temporary file. A process that is killed leaves one, which the next write to this destination removes; see
    `remove_orphans` for how it is told apart from that of a live writer. A child that is forked in the body
    publishes nothing and removes nothing.

    A new file gets the permissions that `open` would have given it. A file that replaces another gets the
    other's read, write and execute bits, its extended attributes and access list, its group if the writer is
    a member, and its owner if the writer is root. If the file cannot have the group, its own group may do no
    more than everybody may. Until the file is finished, only its owner may read it. Not taken over are the
    set-user-id bits, `security.capability`, `.ima` and `.evm`, which belong to the old content, and what the
    writer has no right to set. If no mode can be set (on some FUSE file systems, and on vfat that another
    user mounted), a file keeps the mode that it was made with; it is an error if that allows more than the
    old file's. Further hard links to the old file keep the old content. Writing requires permission on the
    directory, as every rename does, and not on the file.

    A symbolic link is followed: the file that it names is replaced, and the link stays. The path is resolved
    once, on entry to the body; a later chdir does not redirect it.

    A failed fsync is an error and is never tried again: after it the kernel may have dropped the data, and
    report success for the next fsync (PostgreSQL's "fsyncgate", 2018). Nothing is ever copied: a refused
    rename (EXDEV, or EBUSY if a file is mounted at the destination) is an error. On Windows a rename waits up
    to two seconds for readers that do not share the file. The code for macOS and Windows is tested with
    stand-ins only.

    Args:
        destination: The file to write.
        mode: "w" or "wt" for text, "wb" for bytes.
        encoding: The encoding of text; None means UTF-8. Bytes take none.
        newline: What replaces each `"\n"` in text, as for `open`. Bytes take none.
        durable: What must survive a power cut once the body has ended. "full": the new content. "file": the
            old content or the new, whole; this saves the fsync of the directory. "none": nothing, and the
            file may even be empty afterwards; it stays atomic for readers and for crashes of the process, and
            is the fastest. On macOS, "full" also empties the drive's cache.
        overwrite: Whether an existing file may be replaced. If not, one of several concurrent writers wins; a
            symbolic link counts as an existing file, wherever it leads. A write that is refused on entry
            removes no orphan.
        parents: Whether missing directories are made, as `os.makedirs` does. With durable="full" their names
            last too, and so does that of the lowest existing one: one fsync more.
        permissions: The permissions of the file, such as 0o600, whatever the umask is and the old file has.

    Returns:
        A context manager that yields the open file. Nothing is checked or made before it is entered. The body
        may close the file.

    Raises:
        TypeError: The destination is not a path.
        ValueError: The destination is empty or an impossible name; an option is wrong, or is for text while
            bytes are written; or the body has detached the file's buffer.
        FileExistsError: The destination exists and overwrite=False, on entry or at the end.
        FileNotFoundError: The destination's directory does not exist; `filename` names it.
        IsADirectoryError: The destination is a directory.
        PermissionError: No file can be made in the destination's directory.
        PublishedNotDurableError: The new content is there, and only the directory's fsync failed.
        OSError: The destination is a pipe or a device, or the operating system refuses for another reason.
    """
    path = checked_path("destination", destination)
    text_options = checked_text_options(mode, encoding, newline)
    level, bits = checked_durable(durable), checked_permissions(permissions)
    resolved = file_destination(path, level, overwrite=overwrite, parents=parents)
    draft = _Draft(resolved._replace(permissions=bits))
    try:
        draft.make()
        file = file_of(draft.temporary.writer, mode, **text_options)
        with closed_after(draft.temporary, file):
            yield file
        draft.temporary.close_writer()
        draft.publish()
    except BaseException as error:
        draft.give_up(error)
        raise


class _Draft:
    """A file on its way to a destination: made, then written, then published or given up."""

    def __init__(self, resolved: Destination, *, alone: bool = False) -> None:
        self.resolved = resolved
        self.temporary = TemporaryFile(alone=alone)

    def make(self) -> None:
        """Make the file under its temporary name.

        Raises:
            OSError: The destination's directory accepts none.
        """
        resolved = self.resolved
        # The old file, or the permissions that were asked for, may require that nobody else reads this one.
        mode = 0o666 if resolved.old is None and resolved.permissions is None else 0o600
        make_beside(self.temporary, resolved, mode)

    def publish(self) -> None:
        """Bring what was written to the disk, and rename it to the destination."""
        temporary, resolved = self.temporary, self.resolved
        temporary.refuse_child()
        status = temporary.status or os.fstat(temporary.descriptor)
        finish(temporary.descriptor, resolved, status)
        if os.name == "nt":  # which renames no open file, and does not let other programs remove one
            temporary.close()
        else:
            refuse_lost(temporary.path, status, resolved.path)
        rename_into_place(resolved, temporary.path, status)
        # From here on another temporary may have the name: it is not touched again.
        temporary.release()
        sync_directory(resolved.names, resolved.directory)
        close_directory(resolved.names)

    def give_up(self, error: BaseException) -> None:
        """Remove the temporary file, unless it was published before the error came."""
        try:
            self.temporary.give_up(error, self.resolved.path, self.resolved.target)
        finally:
            close_directory(self.resolved.names)
