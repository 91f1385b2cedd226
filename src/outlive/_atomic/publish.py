"""The steps that all writes share: a temporary is made, written, finished, and renamed to its destination."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from outlive._system import renames
from outlive._system.durability import sync_file

from .attributes import keep_attributes, set_mode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .destination import Destination
    from .temporary import Temporary


def make_beside(temporary: Temporary, resolved: Destination, mode: int) -> None:
    """Make a temporary file or directory for a destination.

    Raises:
        OSError: The destination's directory accepts none.
    """
    try:
        temporary.make(resolved.directory, resolved.name, mode)
    except OSError as error:
        message = f"destination={resolved.path!r} cannot be written: its directory accepts no new file"
        raise OSError(error.errno, f"{message} ({error.strerror})", resolved.directory) from error


def write_all(descriptor: int, content: memoryview) -> None:
    """Write all of the content.

    Raises:
        OSError: The disk is full, or fails.
    """
    while content:
        content = content[os.write(descriptor, content) :]


@contextmanager
def closed_after(temporary: Temporary, file: Any) -> Iterator[None]:  # noqa: ANN401 - a file object of any mode
    """Close a file object that writes a temporary, or a file in it, when the body ends."""
    raw = (file.buffer if hasattr(file, "buffer") else file).raw
    raw.name = temporary.path  # some libraries ask a file for its name
    try:
        yield
        temporary.refuse_child()
        file.close()
    except BaseException:
        if not temporary.is_ours():  # what is buffered here is buffered in the parent as well
            with suppress(OSError, ValueError):
                os.close(raw.fileno())
        # Closing writes what is still buffered, and may fail as the body did: the first error is raised.
        with suppress(OSError, ValueError):
            file.close()
        raise


def take_attributes(descriptor: int, resolved: Destination, made: os.stat_result) -> None:
    """Give a written file the attributes of the replaced one, and the permissions that were asked for.

    Raises:
        OSError: As `keep_attributes` and `set_mode`.
    """
    if resolved.old is not None:
        keep_attributes(descriptor, resolved.target, resolved.old, made)
    if resolved.permissions is not None:
        set_mode(descriptor, resolved.permissions)


def finish(descriptor: int, resolved: Destination, made: os.stat_result) -> None:
    """Bring content and attributes to the disk, under the temporary name.

    Raises:
        OSError: They may not be on the disk.
    """
    take_attributes(descriptor, resolved, made)
    sync_file(descriptor, resolved.durable)


def rename_into_place(resolved: Destination, source: str, made: os.stat_result) -> None:
    """Give a finished file its name.

    Args:
        resolved: The destination.
        source: The path of the file.
        made: The status of the file. Over NFS a rename that is sent twice fails although it was made
            (rename(2), BUGS).

    Raises:
        FileExistsError: The destination exists, and may not be replaced.
        OSError: The operating system refuses.
    """
    rename = renames.replace if resolved.overwrite else renames.rename_new
    try:
        rename(source, resolved.target)
    except FileNotFoundError:
        if not _stands_at(resolved.target, made):
            raise
    except FileExistsError as error:
        raise exists_by_now(resolved) from error


def exists_by_now(resolved: Destination) -> FileExistsError:
    """Return the error of a destination that did not exist on entry to the body."""
    message = f"destination={resolved.path!r} exists by now, and overwrite=False"
    return FileExistsError(errno.EEXIST, message, resolved.target)


def _stands_at(path: str, made: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.lstat(path), made)
    except OSError:
        return False
