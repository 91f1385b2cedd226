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

from ._attributes import keep_attributes
from ._durable import PublishedNotDurableError, sync_file, sync_names
from ._place import NO_NAME, real_directory
from ._temporary import (
    SHORT,
    SUFFIX,
    Temporary,
    believes,
    lock,
    refuse_child,
    refuse_lost,
    remove_orphan,
    unlock,
)

if sys.platform == "linux":
    _MADE_WITH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    _FOR_NAMES = os.O_DIRECTORY | os.O_CLOEXEC
    #: Only what is to be fsynced must be open for reading.
    _OPENED_WITH = {"full": os.O_RDONLY, "file": os.O_PATH, "none": os.O_PATH}


def write_straight(path: str, content: memoryview, durable: str) -> bool:
    """Write a file whole; return False where something is out of the ordinary, for the classes to see to.

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
        here = f"/proc/thread-self/fd/{names}/"  # a thread may have descriptors of its own
        try:
            old = _status(name, names)
            is_plain = old is None or stat.S_ISREG(old.st_mode)
            if not is_plain or not believes(here, os.fstat(names).st_dev):
                return False
        except OSError:
            return False
        if not _published(path, names, here, name, old, content, durable):
            return False
        if durable == "full":
            _sync_names(names, here, path)
        return True
    finally:
        os.close(names)


def _status(name: str, names: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=names, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _sync_names(names: int, here: str, path: str) -> None:
    try:
        sync_names(names, here)
    except PublishedNotDurableError as error:
        error.filename = _real(path, here, names)
        raise


def _real(path: str, here: str, names: int) -> str:
    """Return the real path of the directory, or what stands for it as long as that is open."""
    try:
        return real_directory(path, os.path.dirname(path) or os.curdir, names)
    except OSError:
        return here


def _published(
    path: str, names: int, here: str, name: str, old: os.stat_result | None, content: memoryview, durable: str
) -> bool:
    """Make, write, finish and rename the file; return False where its temporary cannot be had at once."""
    entry, process, made, status = f".{name}.0{SUFFIX}", os.getpid(), -1, None
    try:
        try:
            made = os.open(entry, _MADE_WITH, 0o666 if old is None else 0o600, dir_fd=names)
        except OSError:  # another writer's is there, or a dead one's, or none can be made
            return False
        # Who takes it for an orphan before it is locked has its lock and removes it, or has removed it.
        if lock(made) is False or not (now := os.fstat(made)).st_nlink:
            lost, made = made, -1  # an interrupt must not close it twice: the number may be another's
            os.close(lost)
            return False
        status = now
        while content:
            content = content[os.write(made, content) :]
        if old is not None:
            keep_attributes(made, here + name, old, status)
        sync_file(made, durable)
        refuse_child(process)
        refuse_lost(entry, status, path, names=names)
        os.replace(entry, name, src_dir_fd=names, dst_dir_fd=names)
        # From here on the temporary name may be another's: it is not touched again.
        unlock(made)
    except BaseException as error:
        real = _real(path, here, names)
        _tell_real(error, here, real, entry, name)
        if status is None:
            _give_back(error, path, os.path.join(real, entry), made)
        else:
            _give_up(error, path, real, entry, name, made, process)
        # Without /proc the old file's attributes are not to be had from the descriptor.
        if isinstance(error, FileNotFoundError) and not os.path.lexists(here):
            return False
        raise
    os.close(made)
    return True


def _tell_real(error: BaseException, here: str, real: str, entry: str, name: str) -> None:
    """Name real paths in an error of a call that was given a name alone, or one below the descriptor."""
    if not isinstance(error, OSError) or not isinstance(error.filename, str):
        return
    if error.filename == entry:
        error.filename, error.filename2 = os.path.join(real, entry), os.path.join(real, name)
    elif error.filename.startswith(here):
        error.filename = os.path.join(real, error.filename.removeprefix(here))


def _give_back(error: BaseException, path: str, temporary: str, made: int) -> None:
    """Remove a temporary file that is not locked yet, unless it is another's by now."""
    if made >= 0:
        os.close(made)
    error.add_note(f"destination={path!r} was not written")
    remove_orphan(temporary)


def _give_up(
    error: BaseException, path: str, real: str, entry: str, name: str, made: int, process: int
) -> None:
    """Remove the temporary file, unless the error came when it had its name already."""
    # Under its real path: if this is interrupted, it removes itself when the descriptor is closed.
    temporary = Temporary(os.path.join(real, entry), made)
    temporary.process = process
    # It may be an interrupt, just after the rename.
    if not temporary.is_at(os.path.join(real, name)):
        error.add_note(f"destination={path!r} was not written")
    temporary.discard()
