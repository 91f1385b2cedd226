"""A directory as an object store, which a `file:` URL names.

Its files are written as all files of the library are: whole, and on the disk before their names are. So no
marker outlasts its output, after a power cut either.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from shutil import copyfileobj
from typing import Protocol
from urllib.parse import urlsplit

from outlive._atomic.files import atomic_open, atomic_write
from outlive._atomic.orphans import SUFFIX
from outlive._checkpoints.file_facts import digest_of_file
from outlive._system.durability import synced_directory


def directory_of(url: str) -> str:
    """Return the path that a `file:` URL names.

    Raises:
        ValueError: The URL names another machine, or has parts that no path has.
    """
    from urllib.request import url2pathname  # noqa: PLC0415 - imports half of the standard library

    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise ValueError(f"store={url!r} names another machine; a directory's URL begins with file:///")
    if parts.query or parts.fragment:
        raise ValueError(f"store={url!r} contains a ? or a #; give Path.as_uri() of the directory")
    return url2pathname(parts.path)


class Directory:
    """A directory; a key is the path of a file below it."""

    def __init__(self, top: str) -> None:
        self._top = os.path.abspath(top)
        self.check()

    def check(self, _key: str = "") -> None:
        """Refuse a directory that does not exist, such as one whose file system is not mounted."""
        if not os.path.isdir(self._top):
            raise NotADirectoryError(f"{self._top!r} is not a directory; make it first")

    def get(self, key: str) -> bytes:
        return Path(self._path(key)).read_bytes()

    def stat(self, key: str) -> tuple[int, str]:
        path = self._path(key)
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise FileNotFoundError(key)
        # Neither a time nor an inode shows every change, nor survives a copy of the directory.
        return os.path.getsize(path), digest_of_file(path)

    def put(self, key: str, data: bytes | Path) -> None:
        if isinstance(data, bytes):
            atomic_write(self._path(key), data, parents=True)
            return
        with data.open("rb") as source, atomic_open(self._path(key), "wb", parents=True) as file:
            copyfileobj(source, file)

    def create(self, key: str, data: bytes) -> bool:
        try:
            atomic_write(self._path(key), data, parents=True, overwrite=False)
        except FileExistsError:
            self.settle(key)
            return False
        return True

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        return put_if_tagged(self, key, data, tag)

    def settle(self, key: str) -> None:
        with synced_directory(os.path.dirname(self._path(key))):
            pass

    def delete(self, key: str) -> None:
        path = self._path(key)
        with synced_directory(os.path.dirname(path)):
            os.unlink(path)

    def names(self, prefix: str) -> list[str]:
        self.check()
        folder = prefix.rpartition("/")[0]
        found = []
        for where, _, files in os.walk(self._path(folder) if folder else self._top, onerror=_raise):
            below = os.path.relpath(where, self._top).replace(os.sep, "/")
            found += [file if below == "." else f"{below}/{file}" for file in files]
        return [key for key in found if key.startswith(prefix) and not key.endswith(SUFFIX)]

    def _path(self, key: str) -> str:
        parts = key.strip("/").split("/")
        if not {"", ".", ".."}.isdisjoint(parts) or "\0" in key or parts[-1].endswith(SUFFIX):
            raise ValueError(f"{key!r} cannot be a key in a directory")
        return os.path.join(self._top, *parts)


class Tagged(Protocol):
    """A store that has tags, and no put that depends on one."""

    def stat(self, key: str) -> tuple[int, str]:
        """Return an object's size and tag."""

    def put(self, key: str, data: bytes | Path) -> None:
        """Write an object whole."""


def put_if_tagged(store: Tagged, key: str, data: bytes, tag: str) -> bool:
    """Put an object if it has a tag, and return whether it had. Another process may put it in between."""
    try:
        known = store.stat(key)[1]
    except (FileNotFoundError, NotADirectoryError):  # the latter below a file
        return False
    if known == tag:
        store.put(key, data)
    return known == tag


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):  # a directory that was removed meanwhile
        raise error
