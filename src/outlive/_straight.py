"""The usual write of a whole file, its system calls in one row.

This is `atomic_write` where nothing is out of the ordinary: Linux, a directory that is there, under the name
a plain file or nothing, a file system whose locks are believed, and no temporary of anybody else's. All else
is left to the classes of `_atomic`, before anything is made. It is for speed alone: after a wait for the disk
code comes from memory and not from the processor's caches, and what costs 30 µs without a disk then costs 90,
a fifth of a write of 4 KiB. This costs a third of that (benchmarks/library_files.md).

Names are looked up from the descriptor of their directory: no link that is turned elsewhere meanwhile
redirects a call.
"""

from __future__ import annotations

import os
import stat
import sys

from ._attributes import keep_attributes
from ._durable import sync_file, sync_names
from ._place import NO_NAME
from ._temporary import SHORT, SUFFIX, Temporary, believes, lock, refuse_child, remove_orphan, unlock

if sys.platform == "linux":
    _MADE_WITH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    _FOR_NAMES = os.O_DIRECTORY | os.O_CLOEXEC
    #: Only what is to be fsynced must be open for reading.
    _OPENED_WITH = {"full": os.O_RDONLY, "file": os.O_PATH, "none": os.O_PATH}


def write_straight(path: str, content: memoryview, durable: str) -> bool:
    """Write a file whole; return False where something is out of the ordinary, with nothing left of it.

    Raises:
        PublishedNotDurableError: The new content is there, and only the directory's fsync failed.
        OSError: The disk is full, or fails.
    """
    directory, slash, name = path.rpartition("/")
    if sys.platform != "linux" or name in NO_NAME or len(name) > SHORT:
        return False
    directory = directory or slash or os.curdir
    try:
        names = os.open(directory, _OPENED_WITH[durable] | _FOR_NAMES)
    except OSError:
        return False
    try:
        try:
            old = os.stat(name, dir_fd=names, follow_symlinks=False)
        except FileNotFoundError:
            old = None
        except OSError:
            return False
        here = f"/proc/self/fd/{names}/"
        is_plain = old is None or stat.S_ISREG(old.st_mode)
        if not is_plain or not believes(here, (old or os.fstat(names)).st_dev):
            return False
        if not _published(path, names, here, name, old, content, durable):
            return False
        if durable == "full":
            sync_names(names, directory)
        return True
    finally:
        os.close(names)


def _published(
    path: str, names: int, here: str, name: str, old: os.stat_result | None, content: memoryview, durable: str
) -> bool:
    """Make, write, finish and rename the file; return False where its temporary cannot be had at once."""
    entry, process, made = f".{name}.0{SUFFIX}", os.getpid(), -1
    try:
        try:
            made = os.open(entry, _MADE_WITH, 0o666 if old is None else 0o600, dir_fd=names)
        except OSError:  # another writer's is there, or a dead one's, or none can be made
            return False
        # Who takes it for an orphan before it is locked has its lock, or has removed it.
        if lock(made) is False or not (status := os.fstat(made)).st_nlink:
            os.close(made)
            return False
        while content:
            content = content[os.write(made, content) :]
        if old is not None:
            keep_attributes(made, here + name, old, status)
        sync_file(made, durable)
        refuse_child(process)
        os.replace(entry, name, src_dir_fd=names, dst_dir_fd=names)
        # From here on the temporary name may be another's: it is not touched again.
        unlock(made)
    except BaseException as error:
        _give_up(error, path, here, entry, name, made, process)
        raise
    os.close(made)
    return True


def _give_up(
    error: BaseException, path: str, here: str, entry: str, name: str, made: int, process: int
) -> None:
    """Remove the temporary file, unless the error came when it had its name already."""
    if isinstance(error, OSError) and error.filename == entry:  # of the rename, which names no directory
        real = os.path.realpath(here)
        error.filename, error.filename2 = os.path.join(real, entry), os.path.join(real, name)
    if made < 0:  # an interrupt, perhaps just after it was made
        error.add_note(f"destination={path!r} was not written")
        remove_orphan(here + entry)
        return
    temporary = Temporary(here + entry, made)
    # It may be an interrupt, just after the rename.
    if not temporary.is_at(here + name):
        error.add_note(f"destination={path!r} was not written")
    temporary.discard() if process == os.getpid() else temporary.release()
