"""Whole directories or none: a tree is made beside its destination, brought to the disk, and swapped in.

A rename replaces no directory that holds anything (rename(2)). Since Linux 3.15 renameat2 swaps two names in
one step, and macOS has the like; the old tree is then under the temporary name, and is removed from there.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from . import _syscalls
from ._atomic import make_in_place
from ._attributes import keep_attributes
from ._durable import close_names, sync_tree, synced_directory
from ._orphans import remove_replaced, temporary_name
from ._place import Place, checked_durable, checked_path, directory_place
from ._temporary import TemporaryDirectory, refuse_child

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ._place import Durable

#: What a rename says of a directory that holds something.
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
    """Give an empty directory to fill; when the body ends it takes its place as a whole, or not at all.

    The body fills a directory beside the destination, `.NAME.0.outlive-tmp`. When the body ends, all
    files below are brought to the disk, then all directories from the lowest up, and then the directory
    and an old one at the destination swap their names in one step: a reader finds the old tree or the
    new one. Then the old tree is removed; a reader that is still in it may miss files. What of it
    cannot be removed stays under the temporary name.

    An exception in the body leaves the destination as it was and no temporary directory. A process that
    is killed leaves one, or the old tree, which the next call for this destination removes.

    A new directory has the permissions that `mkdir` gives; one that replaces another gets its mode,
    extended attributes, group and owner as `atomic_open` says. Files below are as the body made them. A
    symbolic link is followed: the directory that it names is replaced, and the link stays.

    Where names cannot be swapped (NFS, most of FUSE, Windows), the old tree is renamed aside and the new one
    renamed into place. In between a reader finds nothing, and so does whoever looks after a crash there
    until the next call, which brings the old tree back first; and of several writers at a time one may
    fail. A destination that is a mount point cannot be renamed at all (EBUSY, EXDEV), nor on an overlay one
    that comes from a lower layer, as from a container's image (EXDEV).

    A tree of more levels than Python's recursion limit, or than there are descriptors, may not be removed:
    one that is given up or replaced then stays under the temporary name.

    Args:
        destination: The directory to make or to replace.
        durable: What must survive a power cut once the body has ended. "full": the new tree. "file":
            either tree, whole. "none": nothing; it stays atomic for readers and crashes of the process.
        overwrite: Whether a directory that is there may be replaced.
        parents: Whether missing directories above are made, as for `atomic_open`.

    Returns:
        A context manager that gives a `pathlib.Path`. Nothing is checked or made before it is entered.

    Raises:
        TypeError: The destination is no path.
        ValueError: The destination is empty or no possible name, or an option is wrong.
        FileExistsError: Something is there, and overwrite=False: found on entry, or at the end.
        FileNotFoundError: The destination's directory does not exist; or the body removed its own.
        NotADirectoryError: The destination is something else than a directory.
        PublishedNotDurableError: The new tree is there, and only the last fsync failed; the old one is
            kept under the temporary name.
        OSError: Something below cannot be brought to the disk, or the operating system refuses.
    """
    from pathlib import Path  # noqa: PLC0415 - more than the rest of the import together

    path = checked_path("destination", destination)
    durable_as = checked_durable(durable)
    place = _resolved(path, durable_as, overwrite=overwrite, parents=parents)
    with place.synced():
        temporary = TemporaryDirectory()
        try:
            make_in_place(temporary, place, 0o777 if place.old is None else 0o700)
            yield Path(temporary.path)
            refuse_child(temporary.process)
            _finish(place, temporary, durable_as)
            replaced = _publish(place, temporary)
        except BaseException as error:
            temporary.give_up(error, place.path, place.target)
            raise
        temporary.release()
    if replaced:
        # Once more, or a power cut could bring back what is left of the old tree. That would be no loss.
        with suppress(OSError), synced_directory(place.directory, durable=durable_as):
            remove_replaced(*replaced)


def _resolved(path: str, durable: str, *, overwrite: bool, parents: bool) -> Place:
    """Resolve the destination, once a tree that a killed process had set aside is back there."""
    place = directory_place(path, durable, overwrite=overwrite, parents=parents)
    try:
        if not _brought_back(place):
            return place
    except BaseException:
        close_names(place.names)
        raise
    close_names(place.names)
    return directory_place(path, durable, overwrite=overwrite, parents=parents)


def _finish(place: Place, temporary: TemporaryDirectory, durable: str) -> None:
    """Bring all that the body left to the disk, under the temporary name."""
    if not temporary.is_at(temporary.path):
        message = f"destination={place.path!r} was not written: the body removed the directory it was given"
        raise FileNotFoundError(errno.ENOENT, message, temporary.path)
    if place.old is not None and temporary.descriptor >= 0:
        new = os.fstat(temporary.descriptor)
        keep_attributes(temporary.descriptor, place.target, place.old, new)
    sync_tree(temporary.path, durable)


def _publish(place: Place, temporary: TemporaryDirectory) -> _Old | None:
    """Give the new tree its name; return where the old one is now and what it is, None if there was none.

    Others may make or remove the destination meanwhile.
    """
    if not place.overwrite:
        _publish_new(place, temporary)
        return None
    is_there = place.old is not None
    while True:
        try:
            if is_there:
                return _swapped(place, temporary.path)
            os.rename(temporary.path, place.target)
        except FileNotFoundError:
            if temporary.is_at(place.target):  # over NFS, a rename that was sent twice (rename(2), BUGS)
                return None
            if not is_there or not temporary.is_at(temporary.path):
                raise
            is_there = False
        except OSError as error:
            if is_there or error.errno not in _TAKEN:
                raise
            is_there = True
        else:
            return None


def _publish_new(place: Place, temporary: TemporaryDirectory) -> None:
    """Give the new tree a name that nothing has."""
    try:
        _syscalls.rename_new(temporary.path, place.target)
    except FileNotFoundError:
        if not temporary.is_at(place.target):  # as above
            raise
    except FileExistsError as error:
        message = f"destination={place.path!r} exists by now, and overwrite=False"
        raise FileExistsError(errno.EEXIST, message, place.target) from error


def _swapped(place: Place, new: str) -> _Old | None:
    """Put the new tree in the place of the old one, and return where that is now and what it is."""
    if _syscalls.exchange(new, place.target):
        return _old(new)
    aside = _aside(place)
    os.rename(place.target, aside)
    old = _old(aside)
    try:
        os.rename(new, place.target)
    except BaseException:
        with suppress(OSError):
            os.rename(aside, place.target)
        raise
    return old


def _old(path: str) -> _Old | None:
    """Return where an old tree is and what it is; None if another writer has removed it already."""
    try:
        return path, os.lstat(path)
    except FileNotFoundError:
        return None


def _brought_back(place: Place) -> bool:
    """Undo the first of two renames, if a process was killed before the second; return whether it was."""
    aside = _aside(place)
    if not os.path.isdir(aside) or (old := _old(aside)) is None:
        return False
    # Looked at now, and after the other: another writer may have set it aside, or brought it back, since.
    there = _old(place.target)
    if there is None:
        os.rename(aside, place.target)
        return True
    if os.path.samestat(there[1], old[1]):
        return True
    # Its writer may have been killed before that: a power cut could bring it back, and then in parts.
    with synced_directory(place.directory, durable=place.durable, publishes=False):
        pass
    remove_replaced(*old)
    return False


def _aside(place: Place) -> str:
    """Return where the old tree is between two renames: a name that no other destination has."""
    name = temporary_name(place.name, "old")
    if place.name not in name:  # it was cut, and others may begin alike
        import hashlib  # noqa: PLC0415 - keeps `import outlive` light

        name = temporary_name(place.name, f"old-{hashlib.sha256(os.fsencode(place.name)).hexdigest()[:12]}")
    return os.path.join(place.directory, name)
