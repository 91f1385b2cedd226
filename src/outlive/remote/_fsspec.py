"""A file system of fsspec, if its writes are whole and conditional."""

from __future__ import annotations

import inspect
import threading
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from ._directory import put_if_tagged

#: Classes of fsspec whose put replaces an object in one step, and can be made conditional.
_WHOLE = (
    "s3fs.core.S3FileSystem",
    "fsspec.implementations.memory.MemoryFileSystem",
)
_MEMORY = _WHOLE[-1]
#: Held by each change of fsspec's memory, which looks for an object and then writes.
_turn = threading.RLock()


class Fsspec:
    """A file system of fsspec; a key is a path in it.

    Raises:
        TypeError: Its writes are not whole, or nothing is known of them.
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
        # A put that takes any keyword would take this one, ignore it, and replace the object.
        self._has_create = "mode" in inspect.signature(put).parameters
        self._is_memory = kind == _MEMORY

    def check(self, key: str) -> None:
        with suppress(PermissionError):  # without the right to list it, nothing shows whether it exists
            self.names(f"{key}/")

    def get(self, key: str) -> bytes:
        self._system.invalidate_cache()
        return bytes(self._system.cat_file(key))

    def stat(self, key: str) -> tuple[int, str]:
        self._system.invalidate_cache()
        found = self._system.info(key)
        if found["type"] != "file":
            raise FileNotFoundError(key)
        # In memory each put makes a new object; elsewhere a time may be too coarse to differ.
        tags = ("created",) if self._is_memory else ("ETag", "etag")
        return found["size"], str(next((found[name] for name in tags if found.get(name)), ""))

    def put(self, key: str, data: bytes | Path) -> None:
        with self._alone():
            if isinstance(data, Path) and data.is_dir():  # which fsspec ignores
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
        """Do nothing: such a store keeps every object that it shows."""

    def delete(self, key: str) -> None:
        with self._alone():
            self._system.rm_file(key)

    def names(self, prefix: str) -> list[str]:
        self._system.invalidate_cache()
        # These classes list by requests of their own, and skip nothing that fails, unlike fsspec's walk().
        found = self._system.find(prefix.rpartition("/")[0])
        return [name.lstrip("/") for name in found if name.lstrip("/").startswith(prefix)]

    def _alone(self) -> AbstractContextManager[object]:
        return _turn if self._is_memory else nullcontext()


def _unwrapped(system: Any) -> Any:  # noqa: ANN401 - one of many classes
    """Return the file system inside fsspec's wrappers, which pass on everything."""
    wrappers = {"DirFileSystem": "fs", "AsyncFileSystemWrapper": "sync_fs"}
    while True:
        kinds = [kind.__name__ for kind in type(system).__mro__ if kind.__module__.startswith("fsspec.")]
        wrapper = next((kind for kind in kinds if kind in wrappers), None)
        if wrapper is None:
            return system
        system = getattr(system, wrappers[wrapper])


def _putting(kind: type) -> tuple[str, Any]:
    """Return the name of the class from which a file system has its put, and that put."""
    for one in kind.__mro__:
        put = vars(one).get("_pipe_file") or vars(one).get("pipe_file")
        if put is not None:
            return f"{one.__module__}.{one.__qualname__}", put
    return "", None
