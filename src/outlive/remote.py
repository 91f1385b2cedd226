"""Outputs and markers on an object store, for pipelines that run on more than one machine.

    bucket = Bucket("s3://results/monday", timeout=30)
    run = RemoteCheckpoints(bucket, run_id="monday")
    if not run.step_done("clean", outputs=["clean.csv"]):
        bucket.put("clean.csv", text)
        run.mark_done("clean", outputs=["clean.csv"])

An object appears whole or not at all: a put that is cut off leaves what was there. A marker is made by a
conditional put, so that of several machines that finish one step only one has made it. S3 has had these
since 2024 (`If-None-Match: *`, https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html).

Needs obstore (`pip install 'outlive[remote]'`), or a file system of fsspec.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import quote

from ._place import shown

__all__ = ["Bucket", "RemoteCheckpoints", "RemoteError", "Stat"]

_SCHEMA = 1
_SUFFIX = ".done"
_T = TypeVar("_T")
#: Rounds in which a marker that others change at the same time is tried.
_ROUNDS = 5


class RemoteError(OSError):
    """An object store refuses, does not answer in time, or is not there; the message says which and where."""


class Stat(NamedTuple):
    """What an object store says of an object.

    Attributes:
        size: in bytes.
        tag: its entity tag: another one is another content, or the same content put again.
    """

    size: int
    tag: str


class _Store(Protocol):
    """What is asked of a client. Each raises what it likes; FileNotFoundError is no object."""

    def get(self, key: str) -> bytes: ...
    def stat(self, key: str) -> Stat: ...
    def put(self, key: str, data: bytes | Path) -> None: ...
    def create(self, key: str, data: bytes) -> bool: ...
    def replace(self, key: str, data: bytes, tag: str) -> bool: ...
    def delete(self, key: str) -> None: ...
    def names(self, prefix: str) -> list[str]: ...


class Bucket:
    """An object store, or what is below a prefix of it.

    Args:
        store: A URL (`s3://bucket/prefix`, `gs://`, `az://`, `file:///`), a store of obstore, or a file
            system of fsspec.
        prefix: What all keys begin with; for fsspec it begins with the bucket. A slash comes after it.
        timeout: Seconds after which one request is given up, where *store* is a URL; it is tried anew for up
            to four times as long.
        options: Further ones for obstore, where *store* is a URL: `endpoint`, `region`, ...

    Raises:
        TypeError: The store is none of these, or an option is out of place.
        ValueError: The URL is none that obstore knows, or the timeout no number of seconds over 0.
        RemoteError: What it takes is not installed.
    """

    def __init__(self, store: Any, *, prefix: str = "", timeout: float = 30.0, **options: Any) -> None:  # noqa: ANN401 - three kinds of other people's
        if not 0 < timeout < 1e9:
            raise ValueError(f"timeout={shown(timeout)} is no number of seconds over 0")
        _string("prefix", prefix)
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._name = store if isinstance(store, str) else f"{type(store).__name__}:{prefix}"
        if isinstance(store, str):
            self._store: _Store = _opened(store, timeout, options)
        elif options:
            raise TypeError(f"{next(iter(options))}= is for a URL, and store={shown(store)} is open already")
        elif hasattr(store, "pipe_file"):
            self._store = _Fsspec(store)
        elif type(store).__module__.partition(".")[0] == "obstore":
            self._store = _Obstore(store)
        else:
            raise TypeError(f"store={shown(store)} is no URL, no store of obstore and no fsspec file system")

    def __repr__(self) -> str:
        return f"Bucket({self._name!r})"

    def get(self, key: str) -> bytes | None:
        """Return an object's content; None if there is none.

        Raises:
            RemoteError: The store refuses or does not answer.
        """
        return self._asked("read", key, self._store.get)

    def stat(self, key: str) -> Stat | None:
        """Return what the store says of an object; None if there is none.

        Raises:
            RemoteError: The store refuses or does not answer.
        """
        return self._asked("examined", key, self._store.stat)

    def put(self, key: str, data: str | bytes | Path) -> None:
        """Make or replace an object: readers find the old content or the new, also if this is killed.

        Args:
            key: The object's name.
            data: Text (as UTF-8), bytes, or the path of a file to send in parts.

        Raises:
            RemoteError: The store refuses or does not answer; the old content stays.
        """
        where, content = self._key(key), _content(data)
        with self._told("written", key):
            self._store.put(where, content)

    def create(self, key: str, data: str | bytes) -> bool:
        """Make an object if there is none; of all who try, on any machine, at most one is told True.

        None is where the answer to the one that made it was lost, and its client tried again.

        Raises:
            RemoteError: The store refuses, does not answer, or has no conditional put.
        """
        where, content = self._key(key), _content(data, path=False)
        with self._told("made", key):
            return self._store.create(where, content)

    def replace(self, key: str, data: str | bytes, *, tag: str) -> bool:
        """Replace an object if it is still the one with this tag; tell whether it was.

        Where the store has no such condition (fsspec), the tag is compared before, and that can race.

        Raises:
            RemoteError: The store refuses or does not answer.
        """
        where, content = self._key(key), _content(data, path=False)
        with self._told("replaced", key):
            return self._store.replace(where, content, tag)

    def delete(self, key: str) -> None:
        """Remove an object; none is no error.

        Raises:
            RemoteError: The store refuses or does not answer.
        """
        self._asked("removed", key, self._store.delete)

    def names(self, prefix: str = "") -> list[str]:
        """Return the keys that begin with a prefix, sorted.

        Raises:
            RemoteError: The store refuses or does not answer.
        """
        with self._told("listed", prefix):
            found = self._store.names(self._prefix + prefix)
        return sorted(name.removeprefix(self._prefix) for name in found)

    def _key(self, key: str) -> str:
        if not _string("key", key).strip("/"):
            raise ValueError(f"key={shown(key)} is no name of an object; give a string")
        return self._prefix + key

    def _asked(self, what: str, key: str, ask: Callable[[str], _T]) -> _T | None:
        where = self._key(key)
        try:
            with self._told(what, key, absent=True):
                return ask(where)
        except FileNotFoundError:
            return None

    @contextmanager
    def _told(self, what: str, key: str, *, absent: bool = False) -> Iterator[None]:
        """Make one kind of error of the many that clients raise, with what was asked and where."""
        try:
            yield
        except Exception as error:
            if absent and isinstance(error, FileNotFoundError):
                raise
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise RemoteError(f"key={key!r} cannot be {what} in {self._name}: {why}") from error


def _string(argument: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{argument}={shown(value)} is not a string")
    return value


def _content(data: object, *, path: bool = True) -> Any:  # noqa: ANN401 - bytes, or a path where one may be
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    if path and isinstance(data, Path):
        return data
    raise TypeError(f"data={shown(data)} is neither text nor bytes" + ", nor a pathlib.Path" * path)


class RemoteCheckpoints:
    """Which steps of one run are done, on an object store: an object each, below `.checkpoints/`.

    Any number of processes on any number of machines may share a run. A step that was killed after its
    outputs were put, and before it was marked, runs again; what it puts then is the same, or, with
    `Bucket.create`, is there already.

    Args:
        bucket: Where the markers are, and the outputs that they vouch for.
        run_id: Which run this is. The empty string is the run that needs no id.

    Raises:
        TypeError: The id is no string, or the bucket none.
    """

    def __init__(self, bucket: Bucket, *, run_id: str = "") -> None:
        if not isinstance(bucket, Bucket):
            raise TypeError(f"bucket={shown(bucket)} is not an outlive.remote.Bucket")
        self.bucket = bucket
        self.run_id = _string("run_id", run_id)

    def __repr__(self) -> str:
        return f"RemoteCheckpoints({self.bucket!r}, run_id={self.run_id!r})"

    def step_done(self, name: str, *, outputs: Iterable[str] = ()) -> bool:
        """Tell whether a step is marked, with these outputs, and they are still the objects that they were.

        Raises:
            TypeError: The name is no string.
            RemoteError: The store refuses or does not answer.
        """
        return self._doubt(name, outputs) is None

    def why(self, name: str, *, outputs: Iterable[str] = ()) -> str:
        """Say in a sentence why a step will run, or will not.

        Raises:
            TypeError: The name is no string.
            RemoteError: The store refuses or does not answer.
        """
        doubt = self._doubt(name, outputs)
        return f"{name} is done" if doubt is None else f"{name} will run: {doubt}"

    def mark_done(self, name: str, *, outputs: Iterable[str] = ()) -> bool:
        """Mark a step whose outputs are there; tell whether it was this call that marked it.

        It was not where another machine had marked it, and its outputs are what they were then.

        Raises:
            TypeError: The name is no string.
            RemoteError: An output is not there, or the store refuses or does not answer.
        """
        wanted = list(outputs)
        for _ in range(_ROUNDS):
            seen = {key: self.bucket.stat(key) for key in wanted}
            missing = next((key for key, stat in seen.items() if stat is None), None)
            if missing is not None:
                raise RemoteError(f"name={name!r} cannot be marked: its output {missing!r} is not there")
            content = self._content(name, {key: stat for key, stat in seen.items() if stat is not None})
            if self.bucket.create(self._key(name), content):
                return True
            old = self.bucket.stat(self._key(name))
            if self._doubt(name, wanted) is None:
                return False
            if old is not None and self.bucket.replace(self._key(name), content, tag=old.tag):
                return True
        raise RemoteError(f"name={name!r} cannot be marked: others change its marker all the time")

    def done(self) -> list[str]:
        """Return the names of this run's marked steps, sorted, whether or not their outputs still stand.

        Raises:
            RemoteError: The store refuses or does not answer.
        """
        several = (self.bucket.get(key) for key in self.bucket.names(self._folder()) if key.endswith(_SUFFIX))
        facts = filter(None, map(_facts, several))
        return sorted(str(one["step"]) for one in facts if one.get("run_id") == self.run_id and "step" in one)

    def clear(self, name: str | None = None) -> None:
        """Forget one step of this run, or with no name all of them.

        Raises:
            RemoteError: The store refuses or does not answer.
        """
        keys = [self._key(name)] if name is not None else self.bucket.names(self._folder())
        for key in keys:
            if key.endswith(_SUFFIX):
                self.bucket.delete(key)

    def _doubt(self, name: str, outputs: Iterable[str]) -> str | None:
        """Return why a step does not count as done; None if it does."""
        content = self.bucket.get(self._key(name))
        if content is None:
            return "it is not marked"
        facts = _facts(content)
        if facts is None or facts.get("step") != name or facts.get("run_id") != self.run_id:
            return "its marker is damaged"
        if facts.get("schema") != _SCHEMA:
            return f"its marker was made by another version (schema={facts.get('schema')!r})"
        return self._change(facts.get("outputs"), list(outputs))

    def _change(self, known: object, wanted: list[str]) -> str | None:
        """Return what is not as it was when a step was marked; None if all is."""
        if not isinstance(known, dict) or sorted(known) != sorted(wanted):
            return "its outputs are others now"
        for key in wanted:
            stat = self.bucket.stat(key)
            if stat is None:
                return f"its output {key!r} is not there"
            if known[key] != list(stat):
                return f"its output {key!r} is not what it was when the step was marked"
        return None

    def _folder(self) -> str:
        # A name of a step has no slash left in it, so that no run is below another.
        return f".checkpoints/{_spelt(self.run_id)}/"

    def _key(self, name: str) -> str:
        return f"{self._folder()}{_spelt(_string('name', name))}{_SUFFIX}"

    def _content(self, name: str, outputs: Mapping[str, Stat]) -> str:
        facts = {
            "schema": _SCHEMA,
            "run_id": self.run_id,
            "step": name,
            "outputs": {key: list(outputs[key]) for key in sorted(outputs)},
        }
        return json.dumps(facts) + "\n"


def _facts(content: bytes | None) -> dict[str, Any] | None:
    try:
        facts = json.loads(content or b"")
    except (ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None


def _spelt(name: str) -> str:
    """Spell any string as a part of a key: no slash, no dot, no two alike, and never empty."""
    return quote(name, safe="", errors="surrogatepass").replace(".", "%2E") or "%"


# -- clients -------------------------------------------------------------------------------------------


def _opened(url: str, timeout: float, options: dict[str, Any]) -> _Store:
    try:
        from obstore.store import from_url  # noqa: PLC0415 - only where it is needed
    except ImportError as error:
        raise RemoteError(
            f"store={url!r}: obstore is not installed; pip install 'outlive[remote]'"
        ) from error
    options.setdefault("client_options", {"timeout": timedelta(seconds=timeout)})
    retry = {"max_retries": 5, "retry_timeout": timedelta(seconds=4 * timeout)}
    options.setdefault("retry_config", retry)
    if url.startswith(("file:", "memory:")):  # no client, and nothing to retry
        options = {}
    try:
        return _Obstore(from_url(url, **options))
    except Exception as error:
        raise ValueError(f"store={url!r} cannot be opened: {str(error).splitlines()[0]}") from error


class _Obstore:
    """A store of obstore."""

    def __init__(self, store: Any) -> None:  # noqa: ANN401 - one of six classes
        import obstore  # noqa: PLC0415 - only where it is needed

        self._api, self._store = obstore, store
        self._there = obstore.exceptions.AlreadyExistsError
        self._changed = (obstore.exceptions.PreconditionError, obstore.exceptions.NotFoundError)

    def get(self, key: str) -> bytes:
        return bytes(self._api.get(self._store, key).bytes())

    def stat(self, key: str) -> Stat:
        found = self._api.head(self._store, key)
        return Stat(found["size"], found["e_tag"] or "")

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
        except (NotImplementedError, self._api.exceptions.NotSupportedError):  # a directory of this machine
            if self.stat(key).tag != tag:
                return False
            self.put(key, data)
        return True

    def delete(self, key: str) -> None:
        self._api.delete(self._store, key)

    def names(self, prefix: str) -> list[str]:
        # An object store of obstore lists whole parts of a path.
        folder = prefix.rpartition("/")[0]
        several = self._api.list(self._store, folder or None)
        return [one["path"] for batch in several for one in batch if one["path"].startswith(prefix)]


class _Fsspec:
    """A file system of fsspec; a key is a path of it."""

    def __init__(self, system: Any) -> None:  # noqa: ANN401 - one of many classes
        self._system = system
        put = getattr(system, "_pipe_file", None) or system.pipe_file
        # One that takes any keyword would take this one, too, and replace what is there.
        self._has_create = "mode" in inspect.signature(put).parameters

    def get(self, key: str) -> bytes:
        self._system.invalidate_cache()
        return bytes(self._system.cat_file(key))

    def stat(self, key: str) -> Stat:
        self._system.invalidate_cache()
        found = self._system.info(key)
        if found["type"] != "file":
            raise FileNotFoundError(key)
        tags = (found.get(name) for name in ("ETag", "etag", "e_tag", "md5", "mtime", "created"))
        return Stat(found["size"], str(next((tag for tag in tags if tag is not None), "")))

    def put(self, key: str, data: bytes | Path) -> None:
        if isinstance(data, Path):
            self._system.put_file(str(data), key)
        else:
            self._system.pipe_file(key, data)

    def create(self, key: str, data: bytes) -> bool:
        if not self._has_create:
            raise NotImplementedError(f"{type(self._system).__name__} has no conditional put")
        try:
            self._system.pipe_file(key, data, mode="create")
        except FileExistsError:
            return False
        return True

    def replace(self, key: str, data: bytes, tag: str) -> bool:
        if self.stat(key).tag != tag:
            return False
        self.put(key, data)
        return True

    def delete(self, key: str) -> None:
        self._system.rm_file(key)

    def names(self, prefix: str) -> list[str]:
        self._system.invalidate_cache()
        folder = prefix.rpartition("/")[0]
        try:
            found = self._system.find(folder)
        except FileNotFoundError:
            return []
        return [name.lstrip("/") for name in found if name.lstrip("/").startswith(prefix.lstrip("/"))]
