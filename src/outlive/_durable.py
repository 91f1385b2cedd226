"""What has reached the disk: fsync of files, of directories, and of many at a time.

Names are a directory's content: a file's own fsync does not make its name last (fsync(2)). An fsync that
failed is never tried again: the kernel may have dropped the data, and call the next one a success
(https://wiki.postgresql.org/wiki/Fsync_Errors).
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ._descriptor import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import ThreadPoolExecutor

    from ._descriptor import Descriptor

_fcntl: Any
try:
    import fcntl as _fcntl
except ImportError:  # Windows
    _fcntl = None

_FULL_FSYNC = getattr(_fcntl, "F_FULLFSYNC", None)  # of macOS
_UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
_AT_ONCE = 16  # fsyncs under way; more gain nothing on any disk that was measured
_FEW = 4  # so many are done one by one: no thread is worth its start


class PublishedNotDurableError(OSError):
    """The change was made and can be seen, but a power cut may undo it: the directory's fsync failed.

    Attributes:
        filename: The directory.
    """

    outlive_durability = True  # so that no retry of a step takes it for a passing fault


def sync_file(descriptor: int, durable: str) -> None:
    """Bring a file's content and attributes to the disk, unless durable is "none".

    With "full" on macOS that takes F_FULLFSYNC (fcntl(2) there): fsync hands the data to the drive,
    which may keep them in its cache. Where a file system does not know it, fsync is what there is.

    Raises:
        OSError: They may not be on the disk, and never will be.
    """
    if durable == "none":
        return
    try:
        _fsync(descriptor, to_platter=durable == "full")
    except OSError as error:
        vars(error)["outlive_durability"] = True  # Retry leaves such an error alone
        raise


def _fsync(descriptor: int, *, to_platter: bool) -> None:
    """Call F_FULLFSYNC where the platform and the file system have it and it is wanted, else fsync."""
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
    """Bring to the disk what the body makes, renames or removes in a directory, if durable is "full".

    It is opened first: one that cannot be fsynced is found before anything is changed.

    Args:
        directory: Where.
        durable: What must survive a power cut.
        publishes: Whether the body gives something its final name. If not, an fsync that fails is an
            OSError as for a file: nothing was published.

    Raises:
        OSError: The directory cannot be opened, and the body has not run.
        PublishedNotDurableError: Its fsync failed, after the body. A file system that has no fsync of
            directories is no error.
    """
    names = open_names(directory, durable)
    try:
        yield
        sync_names(names, directory, publishes=publishes)
    finally:
        close_names(names)


def open_names(directory: str, durable: str = "full") -> Descriptor | None:
    """Open a directory that is to be fsynced; return None if it is not to be.

    Raises:
        OSError: The operating system refuses; the message says what the directory was opened for.
    """
    if durable != "full" or sys.platform == "win32":  # which has no fsync of a directory
        return None
    try:
        return opened(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        message = f"the directory cannot be opened to be fsynced ({error.strerror})"
        raise OSError(error.errno, message, directory) from error


def sync_names(names: Descriptor | None, directory: str, *, publishes: bool = True) -> None:
    """Bring the names in a directory to the disk, if it was opened for that.

    On macOS this takes F_FULLFSYNC as well: the content was flushed out of the drive's cache before it was
    renamed, and the rename may be in that cache.

    Raises:
        PublishedNotDurableError: They may not be there.
        OSError: Likewise, and none of them was to be published.
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


def close_names(names: Descriptor | None) -> None:
    """Close what `open_names` returned."""
    if names is not None:
        names.close()


def sync_tree(top: str, durable: str) -> None:
    """Bring all below a directory to the disk: the files, then the directories from the lowest up.

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
    overlapped(lambda path: _sync_path(path, durable), files)
    for directory in directories:
        with synced_directory(directory, publishes=False):
            pass


def overlapped(sync: Callable[[Any], None], items: Iterable[Any]) -> None:
    """Call a function that waits for the disk with each of many, several at a time.

    All have ended when this returns or raises, unless it was interrupted twice. File systems write what
    several wait for in one go.

    Raises:
        OSError: The first of the errors, in the order of the items.
    """
    items = list(items)
    executor = _executor() if len(items) > _FEW else None
    if executor is None:
        for item in items:
            sync(item)
        return
    count = min(_AT_ONCE, len(items))
    # Each thread takes every count-th: to hand them one by one costs more than a fast disk's fsync.
    pool = executor(count, "outlive-fsync")
    try:
        waiting = [pool.submit(_each, sync, items[first::count]) for first in range(count)]
        pool.shutdown()
    except BaseException:  # an interrupt: nobody is to close what is being fsynced
        pool.shutdown()
        raise
    failed: dict[int, OSError] = {}
    for first, one in enumerate(waiting):
        failed.update((number * count + first, error) for number, error in one.result())
    if failed:
        raise failed[min(failed)]


def _executor() -> type[ThreadPoolExecutor] | None:
    """Return what has threads, or None if no descriptor is left to import it with."""
    try:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - keeps `import outlive` light
    except OSError:
        return None
    return ThreadPoolExecutor


def _each(sync: Callable[[Any], None], items: list[Any]) -> list[tuple[int, OSError]]:
    """Call it with each, and return the errors, each with its item's number."""
    failed = []
    for number, item in enumerate(items):
        try:
            sync(item)
        except OSError as error:
            failed.append((number, error))
    return failed


def _sync_path(path: str, durable: str) -> None:
    descriptor = open_to_sync(path)
    try:
        sync_file(descriptor.fileno(), durable)
    finally:
        descriptor.close()


def open_to_sync(path: str) -> Descriptor:
    """Open a file that others wrote, to bring it to the disk; a link is refused, a pipe does not block."""
    if sys.platform == "win32":  # whose fsync asks for the right to write
        return opened(path, os.O_RDWR | os.O_BINARY)
    return opened(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)


def _raise(error: OSError) -> None:
    raise error
