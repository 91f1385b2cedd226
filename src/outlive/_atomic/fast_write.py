"""The common write of a whole file, as one sequence of system calls.

This is `atomic_write` in the common case: Linux with /proc, an existing directory, a regular file or nothing
at the destination, a file system whose locks are believed, and a free first temporary name. The classes of
`temporary` handle every other case. The module exists for speed alone: after a wait for the disk, code comes
from memory and not from the processor's caches, and the classes took a fifth of a write of 4 KiB.

Names are looked up from the descriptor of their directory, so that a link that is changed meanwhile redirects
no call.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

from outlive._system.descriptor import open_into, opened
from outlive._system.durability import PublishedNotDurableError, sync_directory, sync_file
from outlive._system.locks import believes, lock, unlock

from .attributes import keep_attributes
from .destination import NO_NAME, real_directory
from .orphans import SUFFIX, is_short
from .temporary import TemporaryFile, refuse_child, refuse_lost

if TYPE_CHECKING:
    from outlive._system.descriptor import Descriptor

if sys.platform == "linux":
    _MADE_WITH = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    #: Only a directory that is fsynced must be open for reading.
    _OPENED_WITH = {
        "full": os.O_RDONLY | os.O_DIRECTORY,
        "file": os.O_PATH | os.O_DIRECTORY,
        "none": os.O_PATH | os.O_DIRECTORY,
    }


def fast_write(path: str, content: memoryview, durable: str) -> bool:
    """Write a file whole; return False if this is not the common case, and nothing was done.

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
        here = f"/proc/thread-self/fd/{number}"  # a thread may have descriptors of its own
        try:
            old = _status(name, number)
            is_common = old is None or stat.S_ISREG(old.st_mode)
            if not is_common or not believes(here, os.fstat(number).st_dev):
                return False
        except OSError:
            return False
        if not _published(path, names, here, name, old, content, durable):
            return False
        if durable == "full":
            _sync(names, here, path)
        return True
    finally:
        names.close()


def _status(name: str, names: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=names, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _sync(names: Descriptor, here: str, path: str) -> None:
    try:
        sync_directory(names, here)
    except PublishedNotDurableError as error:
        error.filename = _real(path, here, names)
        raise


def _real(path: str, here: str, names: Descriptor) -> str:
    """Return the real path of the directory, or else its path in /proc, which is valid while it is open."""
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
    """Make, write, finish and rename the file; return False if its temporary name is not free at once."""
    entry, process, number = f".{name}.0{SUFFIX}", os.getpid(), names.fileno()
    held: list[Descriptor] = []
    status = None
    try:
        try:
            open_into(held, entry, _MADE_WITH, 0o666 if old is None else 0o600, dir_fd=number)
        except OSError:  # the name is taken, or no file can be made
            return False
        made = held[0].fileno()
        # A process that took the file for an orphan before it was locked has its lock, or has removed it.
        if lock(made) is False or not (now := os.fstat(made)).st_nlink:
            return False
        status = now
        while content:
            content = content[os.write(made, content) :]
        if old is not None:
            keep_attributes(made, f"{here}/{name}", old, status)
        sync_file(made, durable)
        refuse_child(process)
        refuse_lost(entry, status, path, names=number)
        os.replace(entry, name, src_dir_fd=number, dst_dir_fd=number)
        # From here on another temporary may have the name: it is not touched again.
        unlock(made)
    except BaseException as error:
        real = _real(path, here, names)
        _use_real_paths(error, here, real, entry, name)
        temporary = os.path.join(real, entry)
        made_so_far = TemporaryFile.taken_over(temporary, held, process, is_locked=status is not None)
        made_so_far.give_up(error, path, os.path.join(real, name))
        # Without /proc the old file's attributes cannot be read by way of the descriptor.
        if isinstance(error, FileNotFoundError) and not os.path.lexists(here):
            return False
        raise
    finally:
        for one in held:
            one.close()
    return True


def _use_real_paths(error: BaseException, here: str, real: str, entry: str, name: str) -> None:
    """Put real paths into the error of a call that had a bare name, or a path by way of the descriptor."""
    if not isinstance(error, OSError) or not isinstance(error.filename, str):
        return
    if error.filename == entry:
        error.filename, error.filename2 = os.path.join(real, entry), os.path.join(real, name)
    elif error.filename.startswith(f"{here}/"):
        error.filename = os.path.join(real, error.filename.removeprefix(f"{here}/"))
