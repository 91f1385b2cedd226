"""The usual write of a whole file, its system calls in one row.

This is `atomic_write` where nothing is out of the ordinary: Linux with /proc, a directory that is there,
under the name a plain file or nothing, a file system whose locks are believed, and no temporary of anybody
else's. All else is left to the classes of `_atomic`. It is for speed alone: after a wait for the disk code
comes from memory and not from the processor's caches, so that the way through the classes was a fifth of a
write of 4 KiB.

Names are looked up from the descriptor of their directory: no link that is turned elsewhere meanwhile
redirects a call.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

from ._attributes import keep_attributes
from ._descriptor import open_into, opened
from ._durable import PublishedNotDurableError, sync_file, sync_names
from ._mounts import believes
from ._orphans import SUFFIX, is_short, lock, unlock
from ._place import NO_NAME, real_directory
from ._temporary import TemporaryFile, refuse_child, refuse_lost

if TYPE_CHECKING:
    from ._descriptor import Descriptor

if sys.platform == "linux":
    _MADE_WITH = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    #: Only what is to be fsynced must be open for reading.
    _OPENED_WITH = {
        "full": os.O_RDONLY | os.O_DIRECTORY,
        "file": os.O_PATH | os.O_DIRECTORY,
        "none": os.O_PATH | os.O_DIRECTORY,
    }


def write_straight(path: str, content: memoryview, durable: str) -> bool:
    """Write a file whole; return False where something is out of the ordinary, for the classes to see to.

    Raises:
        PublishedNotDurableError: The new content is there, and only the directory's fsync failed.
        OSError: The disk is full, or fails.
    """
    directory, slash, name = path.rpartition("/")
    if sys.platform != "linux" or name in NO_NAME or not is_short(name):
        return False
    directory = directory or slash or os.curdir
    try:
        names = opened(directory, _OPENED_WITH[durable])
    except OSError:
        return False
    try:
        number = names.fileno()
        here = f"/proc/thread-self/fd/{number}/"  # a thread may have descriptors of its own
        try:
            old = _status(name, number)
            is_plain = old is None or stat.S_ISREG(old.st_mode)
            if not is_plain or not believes(here, os.fstat(number).st_dev):
                return False
        except OSError:
            return False
        if not _published(path, names, here, name, old, content, durable):
            return False
        if durable == "full":
            _sync_names(names, here, path)
        return True
    finally:
        names.close()


def _status(name: str, names: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=names, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _sync_names(names: Descriptor, here: str, path: str) -> None:
    try:
        sync_names(names, here)
    except PublishedNotDurableError as error:
        error.filename = _real(path, here, names)
        raise


def _real(path: str, here: str, names: Descriptor) -> str:
    """Return the real path of the directory, or what stands for it as long as that is open."""
    try:
        return real_directory(path, os.path.dirname(path) or os.curdir, names)
    except OSError:
        return here


def _published(
    path: str,
    names: Descriptor,
    here: str,
    name: str,
    old: os.stat_result | None,
    content: memoryview,
    durable: str,
) -> bool:
    """Make, write, finish and rename the file; return False where its temporary cannot be had at once."""
    entry, process, number = f".{name}.0{SUFFIX}", os.getpid(), names.fileno()
    held: list[Descriptor] = []
    status = None
    try:
        try:
            open_into(held, entry, _MADE_WITH, 0o666 if old is None else 0o600, dir_fd=number)
        except OSError:  # another writer's is there, or a dead one's, or none can be made
            return False
        made = held[0].fileno()
        # Who takes it for an orphan before it is locked has its lock and removes it, or has removed it.
        if lock(made) is False or not (now := os.fstat(made)).st_nlink:
            return False
        status = now
        while content:
            content = content[os.write(made, content) :]
        if old is not None:
            keep_attributes(made, here + name, old, status)
        sync_file(made, durable)
        refuse_child(process)
        refuse_lost(entry, status, path, names=number)
        os.replace(entry, name, src_dir_fd=number, dst_dir_fd=number)
        # From here on the temporary name may be another's: it is not touched again.
        unlock(made)
    except BaseException as error:
        real = _real(path, here, names)
        _tell_real(error, here, real, entry, name)
        # Under its real path, and by the class that knows how to take back what is made by half.
        temporary = TemporaryFile.taken_over(
            os.path.join(real, entry), held, process, is_locked=status is not None
        )
        temporary.give_up(error, path, os.path.join(real, name))
        # Without /proc the old file's attributes are not to be had from the descriptor.
        if isinstance(error, FileNotFoundError) and not os.path.lexists(here):
            return False
        raise
    finally:
        for one in held:
            one.close()
    return True


def _tell_real(error: BaseException, here: str, real: str, entry: str, name: str) -> None:
    """Name real paths in an error of a call that was given a name alone, or one below the descriptor."""
    if not isinstance(error, OSError) or not isinstance(error.filename, str):
        return
    if error.filename == entry:
        error.filename, error.filename2 = os.path.join(real, entry), os.path.join(real, name)
    elif error.filename.startswith(here):
        error.filename = os.path.join(real, error.filename.removeprefix(here))
