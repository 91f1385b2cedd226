"""What `Bucket` asks of a store, and which stores are accepted."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from outlive._system.arguments import shown

from ._directory import Directory, directory_of
from ._fsspec import Fsspec
from ._obstore import Obstore


class Stat(NamedTuple):
    """What an object store says of an object.

    Attributes:
        size: Bytes.
        tag: The entity tag. Another tag means another content, or the same content put again. In a directory
            the tag is the content's digest, for which the whole file is read.
    """

    size: int
    tag: str


class Store(Protocol):
    """A store's methods. Each may raise any error; FileNotFoundError means that there is no such object.

    `check` raises if the store itself does not exist, which is asked when a key is missing. `settle` makes an
    existing object last: the process that made it may have been killed before that.
    """

    def check(self, key: str) -> None: ...
    def get(self, key: str) -> bytes: ...
    def stat(self, key: str) -> tuple[int, str]: ...
    def put(self, key: str, data: bytes | Path) -> None: ...
    def create(self, key: str, data: bytes) -> bool: ...
    def replace(self, key: str, data: bytes, tag: str) -> bool: ...
    def settle(self, key: str) -> None: ...
    def delete(self, key: str) -> None: ...
    def names(self, prefix: str) -> list[str]: ...


def opened(url: str, timeout: float, options: dict[str, Any]) -> Store:
    """Open the store that a URL names.

    Raises:
        TypeError: The store has no such option.
        ValueError: The URL is unknown.
        ImportError: obstore is not installed.
        OSError: The directory does not exist.
    """
    scheme = urlsplit(url).scheme
    if scheme in ("file", "memory"):  # which have no client and retry nothing: two options have no effect
        wrong = next((name for name in options if name not in ("client_options", "retry_config")), None)
        if wrong is not None:
            raise TypeError(f"{wrong}= is not an option for store={url!r}")
    if scheme == "file":
        return Directory(directory_of(url))
    try:
        from obstore.store import from_url  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImportError("obstore is not installed; pip install 'outlive[remote]'") from error
    try:
        return Obstore(from_url(url, **(_timed(timeout, options) if scheme != "memory" else {})))
    except Exception as error:
        raise ValueError(f"store={url!r} cannot be opened: {str(error).splitlines()[0]}") from error


def _timed(timeout: float, options: dict[str, Any]) -> dict[str, Any]:
    """Add the timeout to options that have none of their own."""
    client = {"timeout": timedelta(seconds=timeout), **options.get("client_options", {})}
    retry = {"max_retries": 5, "retry_timeout": timedelta(seconds=4 * timeout)}
    retry.update(options.get("retry_config", {}))
    return {**options, "client_options": client, "retry_config": retry}


def adopted(store: Any) -> Store:  # noqa: ANN401 - a store of obstore or a file system of fsspec
    """Return the adapter of a store that is open already.

    Raises:
        TypeError: The store is not accepted.
        OSError: The directory does not exist.
    """
    if hasattr(store, "pipe_file"):
        return Fsspec(store)
    if type(store).__module__.partition(".")[0] != "obstore":
        raise TypeError(
            f"store={shown(store)} is neither a URL, nor a store of obstore, nor a file system of fsspec"
        )
    if type(store).__name__ == "LocalStore":  # which does not bring files to the disk
        return Directory(str(store.prefix or os.sep))
    return Obstore(store)
