"""`atomic_path`: a path for libraries that open files themselves; the result is published whole."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from outlive._system.arguments import checked_path, shown
from outlive._system.durability import open_to_sync

from .destination import Destination, checked_durable, file_destination
from .publish import finish, make_beside, rename_into_place
from .temporary import TemporaryDirectory, lost, refuse_lost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .destination import Durable


@contextmanager
def atomic_path(
    destination: str | os.PathLike[str],
    *,
    durable: Durable = "full",
    overwrite: bool = True,
    parents: bool = False,
) -> Iterator[Path]:
    """Give a path for a library that opens files itself; the file that it leaves there is published whole.

    The path has the destination's name, in a private directory beside it, `.NAME.0.outlive-tmp`. So the
    suffix is right, and it does not matter how the file gets there: written, replaced by a rename, or linked.
    Nothing is there at first.

    A new file keeps the permissions that the library gave it. So does a file that has another name (a hard
    link) as well, which also keeps its owner. Everything else that `atomic_open` documents holds here.

    A program that was started in the body may outlive a run that is killed; it then writes by that path into
    the next run's file. Start it so that it ends with the run: with PR_SET_PDEATHSIG (prctl(2)), or in a
    process group or a container that is killed as a whole.

    Args:
        destination: The file to write.
        durable: What must survive a power cut once the body has ended: "full", "file" or "none".
        overwrite: Whether an existing file may be replaced.
        parents: Whether missing directories are made.

    Returns:
        A context manager that yields a `pathlib.Path`.

    Raises:
        FileNotFoundError: The body left no file at the path; or the destination's directory does not exist.
        ValueError: The body left other files beside it, as a database does that was not closed.
        OSError: As for `atomic_open`.
    """
    from pathlib import Path  # noqa: PLC0415 - takes longer than the rest of the import

    path = checked_path("destination", destination)
    resolved = file_destination(path, checked_durable(durable), overwrite=overwrite, parents=parents)
    with resolved.synced():
        temporary = TemporaryDirectory()
        inner, is_finished = "", False
        try:
            make_beside(temporary, resolved, 0o700)
            inner = os.path.join(temporary.path, resolved.name)
            yield Path(inner)
            temporary.refuse_child()
            made = _finished(resolved, temporary, inner)
            is_finished = True
            rename_into_place(resolved, inner, made)
            temporary.discard()  # before the directory is brought to the disk
        except BaseException as error:
            if inner and (not is_finished or os.path.lexists(inner)):  # else an interrupt after the rename
                error.add_note(f"destination={resolved.path!r} was not written")
            temporary.discard()
            raise


def _finished(resolved: Destination, temporary: TemporaryDirectory, inner: str) -> os.stat_result:
    """Bring to the disk the file that the body left at the path, and return its status.

    Raises:
        ValueError: The body left more than the file.
        OSError: The body left no regular file, or the file cannot be brought to the disk.
    """
    if not temporary.is_at(temporary.path):
        raise lost(resolved.path)
    path, left = resolved.path, sorted(os.listdir(temporary.path))
    if resolved.name not in left:
        message = f"destination={path!r} was not written: the body left no file at the path that it was given"
        raise FileNotFoundError(errno.ENOENT, message, inner)
    if left != [resolved.name]:
        others = ", ".join(repr(name) for name in left if name != resolved.name)
        raise ValueError(
            f"destination={path!r} was not written: the body left more than the file: {shown(others)}"
        )
    if not stat.S_ISREG(os.lstat(inner).st_mode):
        message = f"destination={path!r} was not written: what the body left is not a regular file"
        raise OSError(errno.EINVAL, message, inner)
    descriptor = open_to_sync(inner)
    try:
        number = descriptor.fileno()
        found = os.fstat(number)
        # A file with another name keeps its own attributes.
        finish(number, resolved._replace(old=None) if found.st_nlink > 1 else resolved, found)
    finally:
        descriptor.close()
    refuse_lost(inner, found, path)  # the directory may have been removed meanwhile
    return found
