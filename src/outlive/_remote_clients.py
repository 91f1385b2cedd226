"""Other people's clients of object stores, as `outlive.remote` asks them: those of obstore and of fsspec."""

from __future__ import annotations

import inspect
import os
import re
import threading
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ._place import shown
from ._remote_directory import Directory, directory_of, put_if_tagged

#: Classes of fsspec whose put replaces an object in one step, and can be made to replace none.
_WHOLE = (
    "s3fs.core.S3FileSystem",
    "fsspec.implementations.memory.MemoryFileSystem",
)
_MEMORY = _WHOLE[-1]
#: Each change of fsspec's memory, which looks for what is there and then writes, has the turn.
_turn = threading.RLock()
#: What obstore says of a listing that is refused, which is no kind of error of its own.
_REFUSED = re.compile(r"\bstatus(?: code:)? 40[13]\b")

#: The process that made obstore's first request, and with that the threads that all its stores wait for.
_asked_in: int | None = None


def opened(url: str, timeout: float, options: dict[str, Any]) -> Directory | Obstore:
    """Open what a URL names.

    Raises:
        TypeError: It has no such option.
        ValueError: It is none that is known.
        ImportError: obstore is not installed.
        OSError: The directory is not there.
    """
    scheme = urlsplit(url).scheme
    if scheme in ("file", "memory"):  # no client, and nothing to retry: these two count for nothing
        wrong = next((name for name in options if name not in ("client_options", "retry_config")), None)
        if wrong is not None:
            raise TypeError(f"{wrong}= is no option for store={url!r}")
    if scheme == "file":
        return Directory(directory_of(url))
    try:
        from obstore.store import from_url  # noqa: PLC0415 - only where it is needed
    except ImportError as error:
        raise ImportError("obstore is not installed; pip install 'outlive[remote]'") from error
    try:
        return Obstore(from_url(url, **(_timed(timeout, options) if scheme != "memory" else {})))
    except Exception as error:
        raise ValueError(f"store={url!r} cannot be opened: {str(error).splitlines()[0]}") from error


def _timed(timeout: float, options: dict[str, Any]) -> dict[str, Any]:
    """Give options the timeout, where they have none of their own."""
    client = {"timeout": timedelta(seconds=timeout), **options.get("client_options", {})}
    retry = {"max_retries": 5, "retry_timeout": timedelta(seconds=4 * timeout)}
    retry.update(options.get("retry_config", {}))
    return {**options, "client_options": client, "retry_config": retry}


def adopted(store: Any) -> Directory | Obstore | Fsspec:  # noqa: ANN401 - three kinds of other people's
    """Take what is open already.

    Raises:
        TypeError: It is none that is known.
        OSError: The directory is not there.
    """
    if hasattr(store, "pipe_file"):
        return Fsspec(store)
    if type(store).__module__.partition(".")[0] != "obstore":
        raise TypeError(f"store={shown(store)} is no URL, no store of obstore and no fsspec file system")
    if type(store).__name__ == "LocalStore":  # which brings nothing to the disk
        return Directory(str(store.prefix or os.sep))
    return Obstore(store)


class Obstore:
    """A store of obstore."""

    def __init__(self, store: Any) -> None:  # noqa: ANN401 - one of six classes
        import obstore  # noqa: PLC0415 - only where it is needed

        self._obstore, self._store, told = obstore, store, obstore.exceptions
        self._there = (FileExistsError, told.AlreadyExistsError)
        self._changed = (FileNotFoundError, told.PreconditionError, told.NotFoundError)
        self._unlisted = (PermissionError, NotImplementedError, told.NotSupportedError)

    @property
    def _api(self) -> Any:  # noqa: ANN401 - a module
        """Return obstore, where it can be asked: in a child that was forked since it would wait for ever."""
        global _asked_in  # noqa: PLW0603 - its threads are one for all stores
        if _asked_in not in (None, os.getpid()):
            raise ChildProcessError(
                "this process was forked after another had asked obstore something, whose threads are not "
                "here; start processes by spawn or forkserver, or ask nothing before they are forked"
            )
        _asked_in = os.getpid()
        return self._obstore

    def check(self, key: str) -> None:
        try:
            self.names(f"{key}/")
        except self._unlisted:  # who may not list it cannot tell
            pass
        except Exception as error:
            if not _REFUSED.search(str(error)):
                raise

    def get(self, key: str) -> bytes:
        return bytes(self._api.get(self._store, key).bytes())

    def stat(self, key: str) -> tuple[int, str]:
        found = self._api.head(self._store, key)
        return found["size"], found["e_tag"] or ""

    def put(self, key: str, data: bytes | Path) -> None:
        self._api.put(self._store, key, data)

    def create(self, key: str, data: bytes) -> bool:
        try:
            self._api.put(self._store, key, data, mode="create")
        except self._there:
            return False
        return True

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        try:
            self._api.put(self._store, key, data, mode={"e_tag": tag})
        except self._changed:
            return False
        return True

    def settle(self, key: str) -> None:
        """Do nothing: what such a store has shown it keeps."""

    def delete(self, key: str) -> None:
        self._api.delete(self._store, key)

    def names(self, prefix: str) -> list[str]:
        # An object store of obstore lists whole parts of a path.
        folder = prefix.rpartition("/")[0]
        several = self._api.list(self._store, folder or None)
        return [one["path"] for batch in several for one in batch if one["path"].startswith(prefix)]


class Fsspec:
    """A file system of fsspec; a key is a path of it.

    Raises:
        TypeError: Its writes are not whole, or nobody knows.
    """

    def __init__(self, system: Any) -> None:  # noqa: ANN401 - one of many classes
        inner = _unwrapped(system)
        kind, put = _putting(type(inner))
        if kind not in _WHOLE:
            name = f"{type(system).__name__} of {type(inner).__name__}".removesuffix(
                f" of {type(system).__name__}"
            )
            raise TypeError(
                f"store={name}: its writes are not known to be whole and conditional; give a URL: "
                "s3://, gs://, az://, or file:///DIRECTORY for files of this machine"
            )
        self._system, self._kind = system, type(inner).__name__
        # One that takes any keyword would take this one, too, and replace what is there.
        self._has_create = "mode" in inspect.signature(put).parameters
        self._is_memory = kind == _MEMORY

    def check(self, key: str) -> None:
        with suppress(PermissionError):  # who may not list it cannot tell
            self.names(f"{key}/")

    def get(self, key: str) -> bytes:
        self._system.invalidate_cache()
        return bytes(self._system.cat_file(key))

    def stat(self, key: str) -> tuple[int, str]:
        self._system.invalidate_cache()
        found = self._system.info(key)
        if found["type"] != "file":
            raise FileNotFoundError(key)
        # In memory each put makes a new object; elsewhere a time may be too coarse to tell two apart.
        tags = ("created",) if self._is_memory else ("ETag", "etag")
        return found["size"], str(next((found[name] for name in tags if found.get(name)), ""))

    def put(self, key: str, data: bytes | Path) -> None:
        with self._alone():
            if isinstance(data, Path) and data.is_dir():  # which is passed over
                raise IsADirectoryError(f"{str(data)!r} is a directory")
            if isinstance(data, Path) and not self._is_memory:
                self._system.put_file(str(data), key)
            else:
                self._system.pipe_file(key, data.read_bytes() if isinstance(data, Path) else data)

    def create(self, key: str, data: bytes) -> bool:
        if not self._has_create:
            raise NotImplementedError(f"{self._kind} has no conditional put")
        try:
            with self._alone():
                self._system.pipe_file(key, data, mode="create")
        except FileExistsError:
            return False
        return True

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        with self._alone():
            return put_if_tagged(self, key, data, tag)

    def settle(self, key: str) -> None:
        """Do nothing: what such a store has shown it keeps."""

    def delete(self, key: str) -> None:
        with self._alone():
            self._system.rm_file(key)

    def names(self, prefix: str) -> list[str]:
        self._system.invalidate_cache()
        # Each of these lists by requests of its own, and none skips what fails, as fsspec's walk() does.
        found = self._system.find(prefix.rpartition("/")[0])
        return [name.lstrip("/") for name in found if name.lstrip("/").startswith(prefix)]

    def _alone(self) -> AbstractContextManager[object]:
        return _turn if self._is_memory else nullcontext()


def _unwrapped(system: Any) -> Any:  # noqa: ANN401 - one of many classes
    """Return the file system that one of fsspec's wrappers hands everything on to."""
    wrappers = {"DirFileSystem": "fs", "AsyncFileSystemWrapper": "sync_fs"}
    while True:
        kinds = [kind.__name__ for kind in type(system).__mro__ if kind.__module__.startswith("fsspec.")]
        wrapper = next((kind for kind in kinds if kind in wrappers), None)
        if wrapper is None:
            return system
        system = getattr(system, wrappers[wrapper])


def _putting(kind: type) -> tuple[str, Any]:
    """Return the class that a file system has its put from, by name, and that put."""
    for one in kind.__mro__:
        put = vars(one).get("_pipe_file") or vars(one).get("pipe_file")
        if put is not None:
            return f"{one.__module__}.{one.__qualname__}", put
    return "", None
