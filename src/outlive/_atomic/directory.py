"""`atomic_directory`: a tree is made beside its destination, fsynced, and exchanged with the old one.

A rename does not replace a directory that has entries (rename(2)). Since Linux 3.15 renameat2 exchanges two
names in one step, and macOS can do so as well; the old tree then has the temporary name, and is removed
there.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from outlive._system import renames
from outlive._system.arguments import checked_path
from outlive._system.durability import close_directory, sync_tree, synced_directory

from .attributes import keep_attributes
from .destination import Destination, checked_durable, directory_destination
from .orphans import remove_replaced, temporary_name
from .publish import exists_by_now, make_beside
from .temporary import TemporaryDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .destination import Durable

#: Errors of a rename to a directory that has entries.
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
_Old = tuple[str, os.stat_result]


@contextmanager
def atomic_directory(
    destination: str | os.PathLike[str],
    *,
    durable: Durable = "full",
    overwrite: bool = True,
    parents: bool = False,
) -> Iterator[Path]:
    """Give an empty directory to fill; after the body it replaces its destination as a whole, or not at all.

    The body fills a directory beside the destination, `.NAME.0.outlive-tmp`. When the body ends, all files
    below are brought to the disk, then all directories from the lowest up. Then the directory and an old one
    at the destination exchange their names in one step: a reader finds the old tree or the new one. Then the
    old tree is removed; a reader that is still in it may miss files. What cannot be removed of it stays under
    the temporary name.

    An exception in the body leaves the destination as it was and no temporary directory. A process that is
    killed leaves one, or the old tree, which the next call for this destination removes.

    A new directory has the permissions that `mkdir` gives. One that replaces another gets its mode, extended
    attributes, group and owner, as `atomic_open` documents. Files below stay as the body made them. A
    symbolic link is followed: the directory that it names is replaced, and the link stays.

    If the file system cannot exchange names (NFS, most of FUSE, Windows), the old tree is renamed aside and
    the new one renamed to the destination. In between a reader finds nothing. After a crash there, nothing is
    found until the next call, which first brings the old tree back; and of several concurrent writers one may
    fail. A destination that is a mount point cannot be renamed at all (EBUSY, EXDEV), nor can one on an
    overlay that comes from a lower layer, such as a container's image (EXDEV).

    A tree with more levels than Python's recursion limit, or than there are descriptors, may not be
    removable: it then stays under the temporary name when it is given up or replaced.

    Args:
        destination: The directory to make or to replace.
        durable: What must survive a power cut once the body has ended. "full": the new tree. "file": either
            tree, whole. "none": nothing; it stays atomic for readers and for crashes of the process.
        overwrite: Whether an existing directory may be replaced.
        parents: Whether missing directories above are made, as for `atomic_open`.

    Returns:
        A context manager that yields a `pathlib.Path`. Nothing is checked or made before it is entered.

    Raises:
        TypeError: The destination is not a path.
        ValueError: The destination is empty or an impossible name, or an option is wrong.
        FileExistsError: The destination exists and overwrite=False, on entry or at the end.
        FileNotFoundError: The destination's directory does not exist; or the body removed its own directory.
        NotADirectoryError: The destination is not a directory.
        PublishedNotDurableError: The new tree is there, and only the last fsync failed; the old tree stays
            under the temporary name.
        OSError: Something below cannot be brought to the disk, or the operating system refuses.
    """
    from pathlib import Path  # noqa: PLC0415 - takes longer than the rest of the import

    path = checked_path("destination", destination)
    level = checked_durable(durable)
    resolved = _resolved(path, level, overwrite=overwrite, parents=parents)
    with resolved.synced():
        temporary = TemporaryDirectory()
        try:
            make_beside(temporary, resolved, 0o777 if resolved.old is None else 0o700)
            yield Path(temporary.path)
            temporary.refuse_child()
            _finish(resolved, temporary, level)
            replaced = _publish(resolved, temporary)
        except BaseException as error:
            temporary.give_up(error, resolved.path, resolved.target)
            raise
        temporary.release()
    if replaced:
        # Once more, or a power cut could bring back parts of the old tree. No data would be lost.
        with suppress(OSError), synced_directory(resolved.directory, durable=level):
            remove_replaced(*replaced)


def _resolved(path: str, durable: str, *, overwrite: bool, parents: bool) -> Destination:
    """Resolve the destination, after a tree that a killed process had set aside is back there."""
    resolved = directory_destination(path, durable, overwrite=overwrite, parents=parents)
    try:
        if not _brought_back(resolved):
            return resolved
    except BaseException:
        close_directory(resolved.names)
        raise
    close_directory(resolved.names)
    return directory_destination(path, durable, overwrite=overwrite, parents=parents)


def _finish(resolved: Destination, temporary: TemporaryDirectory, durable: str) -> None:
    """Bring everything that the body left to the disk, under the temporary name."""
    if not temporary.is_at(temporary.path):
        message = (
            f"destination={resolved.path!r} was not written: the body removed the directory it was given"
        )
        raise FileNotFoundError(errno.ENOENT, message, temporary.path)
    if resolved.old is not None and temporary.descriptor >= 0:
        new = os.fstat(temporary.descriptor)
        keep_attributes(temporary.descriptor, resolved.target, resolved.old, new)
    sync_tree(temporary.path, durable)


def _publish(resolved: Destination, temporary: TemporaryDirectory) -> _Old | None:
    """Give the new tree its name; return where the old tree is now, with its status, or None without one.

    Other processes may make or remove the destination meanwhile.
    """
    if not resolved.overwrite:
        _publish_new(resolved, temporary)
        return None
    exists = resolved.old is not None
    while True:
        try:
            if exists:
                return _exchanged(resolved, temporary.path)
            os.rename(temporary.path, resolved.target)
        except FileNotFoundError:
            if temporary.is_at(resolved.target):  # over NFS, a rename that was sent twice (rename(2), BUGS)
                return None
            if not exists or not temporary.is_at(temporary.path):
                raise
            exists = False
        except OSError as error:
            if exists or error.errno not in _TAKEN:
                raise
            exists = True
        else:
            return None


def _publish_new(resolved: Destination, temporary: TemporaryDirectory) -> None:
    """Give the new tree a free name."""
    try:
        renames.rename_new(temporary.path, resolved.target)
    except FileNotFoundError:
        if not temporary.is_at(resolved.target):  # as above
            raise
    except FileExistsError as error:
        raise exists_by_now(resolved) from error


def _exchanged(resolved: Destination, new: str) -> _Old | None:
    """Replace the old tree by the new one, and return where the old one is now, with its status."""
    if renames.exchange(new, resolved.target):
        return _old(new)
    aside = _aside(resolved)
    os.rename(resolved.target, aside)
    old = _old(aside)
    try:
        os.rename(new, resolved.target)
    except BaseException:
        with suppress(OSError):
            os.rename(aside, resolved.target)
        raise
    return old


def _old(path: str) -> _Old | None:
    """Return the path of an old tree with its status; None if another writer has removed it already."""
    try:
        return path, os.lstat(path)
    except FileNotFoundError:
        return None


def _brought_back(resolved: Destination) -> bool:
    """Undo the first of two renames if a process was killed before the second; return whether it was."""
    aside = _aside(resolved)
    if not os.path.isdir(aside) or (old := _old(aside)) is None:
        return False
    # The order matters: another writer may set the tree aside, or bring it back, between the two looks.
    there = _old(resolved.target)
    if there is None:
        os.rename(aside, resolved.target)
        return True
    if os.path.samestat(there[1], old[1]):
        return True
    # The new tree's writer may have been killed before its fsync: a power cut could bring parts of the old
    # back.
    with synced_directory(resolved.directory, durable=resolved.durable, publishes=False):
        pass
    remove_replaced(*old)
    return False


def _aside(resolved: Destination) -> str:
    """Return where the old tree is between two renames: a name that no other destination has."""
    name = temporary_name(resolved.name, "old")
    if resolved.name not in name:  # the name was cut, and other names may begin alike
        import hashlib  # noqa: PLC0415 - keeps `import outlive` light

        digest = hashlib.sha256(os.fsencode(resolved.name)).hexdigest()
        name = temporary_name(resolved.name, f"old-{digest[:12]}")
    return os.path.join(resolved.directory, name)
