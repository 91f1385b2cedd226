"""`Bucket`: objects that appear whole or not at all, in any of the accepted stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from outlive._system.arguments import checked_string, shown

from ._store import Stat, Store, adopted, opened

_T = TypeVar("_T")


class RemoteError(OSError):
    """An object store refuses, does not answer in time, or does not exist; the message says which and where.

    For a directory it may be an error of durability (a failed fsync); then its `outlive_durability` is true,
    and `Retry` does not retry it.
    """


class Bucket:
    """An object store, or what is below a prefix of it.

    A process that is forked after a request to a store of obstore cannot make any, and gets a `RemoteError`.
    Start processes by spawn or forkserver, or fork them before the first request. A bucket can be pickled;
    the other process opens the store anew.

    Args:
        store: A URL (`s3://bucket/prefix`, `gs://`, `az://`, `file:///DIRECTORY`), a store of obstore, a file
            system of s3fs, or fsspec's memory. Other file systems of fsspec are refused: they write in place,
            so that a reader finds half of a file, or look before they create, so that two processes do.
        prefix: The beginning of all keys; for fsspec it begins with the bucket. A slash follows it; one
            before it has no effect.
        timeout: Seconds after which one request is given up, if *store* is a URL; it is retried for up to
            four times as long.
        options: Further options for obstore, if *store* is a URL: `endpoint`, `region`, ... Times in
            `client_options` and `retry_config` take precedence over *timeout*.

    Raises:
        TypeError: The store is not accepted, or an option does not apply to it.
        ValueError: obstore does not know the URL, or the timeout is not a number of seconds over 0.
        RemoteError: A required package is not installed, or the directory does not exist.
    """

    def __init__(self, store: Any, *, prefix: str = "", timeout: float = 30.0, **options: Any) -> None:  # noqa: ANN401 - stores of other packages
        if not 0 < timeout < 1e9:
            raise ValueError(f"timeout={shown(timeout)} is not a number of seconds over 0")
        prefix = checked_string("prefix", prefix)
        self._made_of = store, prefix, timeout, options
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._name = store if isinstance(store, str) else f"{type(store).__name__}:{prefix}"
        if options and not isinstance(store, str):
            raise TypeError(f"{next(iter(options))}= is for a URL, and store={shown(store)} is open already")
        try:
            self._store: Store = opened(store, timeout, options) if isinstance(store, str) else adopted(store)
        except (ImportError, OSError) as error:
            raise RemoteError(f"store={shown(store)} cannot be opened: {error}") from error
        self._exists = False

    def __reduce__(self) -> tuple[object, ...]:
        """Let another process open the store anew: connections stay in this process."""
        return _reopened, self._made_of

    def __repr__(self) -> str:
        return f"Bucket({self._name!r})"

    def get(self, key: str) -> bytes | None:
        """Return an object's content; None if there is no such object.

        A bucket that does not exist is an error. To notice it takes the right to list the bucket; most stores
        require that right for the answer 404, too.

        Raises:
            RemoteError: The store refuses or does not answer.
        """
        return self._asked("read", key, self._store.get)

    def stat(self, key: str) -> Stat | None:
        """Return the size and tag of an object; None if there is no such object.

        Raises:
            RemoteError: The store refuses or does not answer, or gives no entity tag.
        """
        found = self._asked("examined", key, self._store.stat)
        if found is None:
            return None
        stat = Stat(*found)
        if not stat.tag:  # another content of the same size would not be noticed
            raise RemoteError(f"key={key!r} cannot be examined in {self._name}: it has no entity tag")
        return stat

    def put(self, key: str, data: str | bytes | Path) -> None:
        """Make or replace an object: readers find the old content or the new, even if this process is killed.

        Args:
            key: The object's key.
            data: Text (stored as UTF-8), bytes, or the path of a file to send in parts.

        Raises:
            RemoteError: The store refuses or does not answer; the old content stays.
        """
        where, content = self._key(key), _content(data)
        with self._translated("written", key):
            self._store.put(where, content)
            self._exists = True

    def create(self, key: str, data: str | bytes) -> bool:
        """Make an object if it does not exist; of all processes that try, anywhere, one at most gets True.

        None gets True if the answer to the one that made it was lost, and its client tried again.

        Raises:
            RemoteError: The store refuses, does not answer, or has no conditional put.
        """
        where, content = self._key(key), _content(data, path=False)
        with self._translated("made", key):
            return self._store.create(where, content)

    def replace(self, key: str, data: str | bytes, *, tag: str) -> bool:
        """Replace an object if it still has a tag. Of all processes that try, at most one gets True.

        None gets True if the answer was lost, as for `create`: put something unique into the content, and
        read it, to find out. If the store has no such condition (a directory, and fsspec), the tag is
        compared first, and two processes that replace an object at the same time may both get True.

        Raises:
            RemoteError: The store refuses or does not answer.
        """
        where, content = self._key(key), _content(data, path=False)
        with self._translated("replaced", key):
            replaced = bool(tag) and self._store.replace(where, content, tag)
            if not replaced:
                self._require(where)
        return replaced

    def delete(self, key: str) -> None:
        """Remove an object; a missing one is not an error.

        Raises:
            RemoteError: The store refuses or does not answer.
        """
        self._asked("removed", key, self._store.delete)

    def settle(self, key: str) -> None:
        """Bring an object's name to the disk, if the store is a directory: it may exist, and not last.

        The process that put it may have been killed before its fsync. `create` does this if the object
        exists, `mark_done` for its outputs, and `step_done` for the marker.

        Raises:
            RemoteError: The directory cannot be fsynced.
        """
        self._asked("brought to the disk", key, self._store.settle)

    def names(self, prefix: str = "") -> list[str]:
        """Return the keys that begin with a prefix, sorted.

        Raises:
            RemoteError: The store refuses or does not answer.
        """
        with self._translated("listed", prefix):
            found = self._store.names(self._prefix + prefix)
        return sorted(name.removeprefix(self._prefix) for name in found)

    def _key(self, key: str) -> str:
        if not checked_string("key", key).strip("/"):
            raise ValueError(f"key={shown(key)} is empty; give the name of an object")
        return self._prefix + key

    def _asked(self, what: str, key: str, ask: Callable[[str], _T]) -> _T | None:
        where = self._key(key)
        with self._translated(what, key):
            try:
                found = ask(where)
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):  # the last one below a file
                self._require(where)
                return None
            self._exists = True
        return found

    def _require(self, where: str) -> None:
        """Raise if the store does not exist: it answers as if the object did not."""
        if not self._exists:
            self._store.check(where)
            self._exists = True

    @contextmanager
    def _translated(self, what: str, key: str) -> Iterator[None]:
        """Raise a RemoteError for each of the many errors of clients, with the action and the place."""
        try:
            yield
        except Exception as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            translation = RemoteError(f"key={key!r} cannot be {what} in {self._name}: {why}")
            vars(translation)["outlive_durability"] = getattr(error, "outlive_durability", False)
            raise translation from error


def _reopened(store: Any, prefix: str, timeout: float, options: dict[str, Any]) -> Bucket:  # noqa: ANN401 - as above
    return Bucket(store, prefix=prefix, timeout=timeout, **options)


def _content(data: object, *, path: bool = True) -> Any:  # noqa: ANN401 - bytes, or a path if that is allowed
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    if path and isinstance(data, Path):
        return data
    raise TypeError(f"data={shown(data)} is neither text nor bytes" + ", nor a pathlib.Path" * path)
