"""What has reached the disk: fsync of files, of directories, and of many files at a time.

A file's name belongs to its directory: fsync of the file does not make the name last (fsync(2)). An fsync
that failed is never tried again: the kernel may have dropped the data, and report success the next time
(https://wiki.postgresql.org/wiki/Fsync_Errors).
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .descriptor import opened, read_flags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import ThreadPoolExecutor

    from .descriptor import Descriptor

_fcntl: Any
try:
    import fcntl as _fcntl
except ImportError:  # Windows
    _fcntl = None

_FULL_FSYNC = getattr(_fcntl, "F_FULLFSYNC", None)  # of macOS
_UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
_AT_ONCE = 16  # concurrent fsyncs; no disk that was measured gains from more
_FEW = 4  # up to so many are done one by one: starting threads takes longer


class PublishedNotDurableError(OSError):
    """The change was made and is visible, but a power cut may undo it: fsync of the directory failed.

    Attributes:
        filename: The directory.
    """

    outlive_durability = True  # so that `Retry` does not retry it


def sync_file(descriptor: int, durable: str) -> None:
    """Bring a file's content and attributes to the disk, unless *durable* is "none".

    On macOS, "full" takes F_FULLFSYNC (fcntl(2) there): fsync passes the data to the drive, which may keep
    them in its cache. If the file system does not know F_FULLFSYNC, fsync must do.

    Raises:
        OSError: The data may not be on the disk, and a second attempt would prove nothing.
    """
    if durable == "none":
        return
    try:
        _fsync(descriptor, to_platter=durable == "full")
    except OSError as error:
        vars(error)["outlive_durability"] = True  # so that `Retry` does not retry it
        raise


def _fsync(descriptor: int, *, to_platter: bool) -> None:
    """Call F_FULLFSYNC if the platform and the file system have it and it is wanted, else fsync."""
    if _FULL_FSYNC is not None and to_platter:
        try:
            _fcntl.fcntl(descriptor, _FULL_FSYNC)
        except OSError as error:
            if error.errno not in (*_UNSUPPORTED, errno.ENOTTY):
                raise
        else:
            return
    os.fsync(descriptor)


@contextmanager
def synced_directory(directory: str, *, durable: str = "full", publishes: bool = True) -> Iterator[None]:
    """Bring to the disk what the body makes, renames or removes in a directory, if *durable* is "full".

    The directory is opened first, so that one that cannot be fsynced is found before anything changes.

    Args:
        directory: The directory.
        durable: What must survive a power cut.
        publishes: Whether the body gives something its final name. If not, a failed fsync is an OSError, as
            for a file: nothing was published.

    Raises:
        OSError: The directory cannot be opened, and the body has not run.
        PublishedNotDurableError: The fsync after the body failed. A file system without fsync of directories
            is not an error.
    """
    names = open_directory(directory, durable)
    try:
        yield
        sync_directory(names, directory, publishes=publishes)
    finally:
        close_directory(names)


def open_directory(directory: str, durable: str = "full") -> Descriptor | None:
    """Open a directory to fsync it later; return None if *durable* does not require that.

    Raises:
        OSError: The operating system refuses; the message names the purpose.
    """
    if durable != "full" or sys.platform == "win32":  # which has no fsync of a directory
        return None
    try:
        return opened(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        message = f"the directory cannot be opened to be fsynced ({error.strerror})"
        raise OSError(error.errno, message, directory) from error


def sync_directory(names: Descriptor | None, directory: str, *, publishes: bool = True) -> None:
    """Bring the names in a directory to the disk, if the directory was opened for that.

    On macOS this takes F_FULLFSYNC as well: the content left the drive's cache before it was renamed, and the
    rename may still be in that cache.

    Raises:
        PublishedNotDurableError: The names may not be on the disk.
        OSError: Likewise, and none of the names was to be published.
    """
    if names is None:
        return
    try:
        _fsync(names.fileno(), to_platter=True)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return
        if publishes:
            message = f"the change was made, but a power cut may undo it: fsync failed ({error.strerror})"
            raise PublishedNotDurableError(error.errno, message, directory) from error
        error.filename = directory
        vars(error)["outlive_durability"] = True
        raise


def close_directory(names: Descriptor | None) -> None:
    """Close what `open_directory` returned."""
    if names is not None:
        names.close()


def sync_tree(top: str, durable: str) -> None:
    """Bring everything below a directory to the disk: the files, then the directories from the lowest up.

    Raises:
        OSError: Something below cannot be opened, or is not on the disk.
    """
    if durable == "none":
        return
    files, directories = [], []
    for where, _, names in os.walk(top, topdown=False, onerror=_raise):
        directories.append(where)
        paths = [os.path.join(where, name) for name in names]
        files += [path for path in paths if stat.S_ISREG(os.lstat(path).st_mode)]
    sync_many(lambda path: sync_path(path, durable), files)
    for directory in directories:
        with synced_directory(directory, publishes=False):
            pass


def sync_many(sync: Callable[[Any], None], items: Iterable[Any]) -> None:
    """Call a function that waits for the disk with each of many items, several at a time.

    File systems write in one go what several callers wait for. All calls have ended when this returns or
    raises, unless it was interrupted twice.

    Raises:
        OSError: The first error, in the order of the items.
    """
    items = list(items)
    executor = _executor() if len(items) > _FEW else None
    if executor is None:
        for item in items:
            sync(item)
        return
    count = min(_AT_ONCE, len(items))
    # Each thread takes every count-th item: passing them one by one takes longer than fsync on a fast disk.
    pool = executor(count, "outlive-fsync")
    try:
        waiting = [pool.submit(_each, sync, items[first::count]) for first in range(count)]
        pool.shutdown()
    except BaseException:  # an interrupt: the caller must not close what is being fsynced
        pool.shutdown()
        raise
    failed: dict[int, OSError] = {}
    for first, one in enumerate(waiting):
        failed.update((number * count + first, error) for number, error in one.result())
    if failed:
        raise failed[min(failed)]


def _executor() -> type[ThreadPoolExecutor] | None:
    """Return the class of thread pools, or None if no descriptor is left to import it."""
    try:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - keeps `import outlive` light
    except OSError:
        return None
    return ThreadPoolExecutor


def _each(sync: Callable[[Any], None], items: list[Any]) -> list[tuple[int, OSError]]:
    """Call a function with each item, and return the errors, each with the item's number."""
    failed = []
    for number, item in enumerate(items):
        try:
            sync(item)
        except OSError as error:
            failed.append((number, error))
    return failed


def sync_path(path: str, durable: str = "full") -> None:
    """Bring to the disk a file that another program wrote.

    Raises:
        OSError: The file cannot be opened, or is not on the disk.
    """
    descriptor = open_to_sync(path)
    try:
        sync_file(descriptor.fileno(), durable)
    finally:
        descriptor.close()


def open_to_sync(path: str) -> Descriptor:
    """Open a file that another program wrote, to fsync it; a link is refused, a pipe does not block.

    Raises:
        OSError: The operating system refuses.
    """
    return opened(path, read_flags())


def _raise(error: OSError) -> None:
    raise error
