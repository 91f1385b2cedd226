"""Outputs and markers on an object store, for pipelines that run on more than one machine.

    bucket = Bucket("s3://results/monday", timeout=30)
    run = RemoteCheckpoints(bucket, run_id="monday")
    if not run.step_done("clean", outputs=["clean.csv"]):
        bucket.put("clean.csv", text)
        run.mark_done("clean", outputs=["clean.csv"])

An object appears whole or not at all: a put that is cut off leaves what was there. A marker is made by a
conditional put, so that of several machines that finish one step only one has made it. S3 has had these
since 2024 (`If-None-Match: *`, https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html).

A directory is a store, too (`file:///results`): its files are written as `atomic_write` writes, and are on
the disk before their markers are. All others need obstore (`pip install 'outlive[remote]'`), or s3fs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from ._marker_files import stem
from ._place import shown
from ._remote_clients import adopted, opened

__all__ = ["Bucket", "RemoteCheckpoints", "RemoteError", "Stat"]

_SCHEMA = 1
_SUFFIX = ".done"
_T = TypeVar("_T")
#: Rounds in which a marker that others change at the same time is tried.
_ROUNDS = 5


class RemoteError(OSError):
    """An object store refuses, does not answer in time, or is not there; the message says which and where.

    Of a directory it may be an error of durability (an fsync failed); its `outlive_durability` is true then,
    and `Retry` leaves it alone.
    """


class Stat(NamedTuple):
    """What an object store says of an object.

    Attributes:
        size: in bytes.
        tag: its entity tag: another one is another content, or the same content put again. In a directory it
            is the content's digest, for which the whole file is read.
    """

    size: int
    tag: str


class _Store(Protocol):
    """What is asked of a client. Each raises what it likes; FileNotFoundError is no object.

    `check` raises if the store itself, asked about a key that is missing, turns out not to be there. `settle`
    sees to it that an object lasts that is there: who made it may have been killed before that was so.
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


class Bucket:
    """An object store, or what is below a prefix of it.

    Where the store is obstore's, a process that is forked after a request was made cannot make any: it is a
    `RemoteError`. Start processes by spawn or forkserver, or fork them before the first request.

    Args:
        store: A URL (`s3://bucket/prefix`, `gs://`, `az://`, `file:///DIRECTORY`), a store of obstore, or a
            file system of s3fs, or fsspec's memory. Others of fsspec are refused: they write in place, so
            that a reader finds half of a file, or look before they create, so that two do.
        prefix: What all keys begin with; for fsspec it begins with the bucket. A slash comes after it, and
            one before it counts for nothing.
        timeout: Seconds after which one request is given up, where *store* is a URL; it is tried anew for up
            to four times as long.
        options: Further ones for obstore, where *store* is a URL: `endpoint`, `region`, ... What
            `client_options` and `retry_config` say of time goes before *timeout*.

    Raises:
        TypeError: The store is none of these, or an option is out of place.
        ValueError: The URL is none that obstore knows, or the timeout no number of seconds over 0.
        RemoteError: What it takes is not installed, or the directory is not there.
    """

    def __init__(self, store: Any, *, prefix: str = "", timeout: float = 30.0, **options: Any) -> None:  # noqa: ANN401 - three kinds of other people's
        if not 0 < timeout < 1e9:
            raise ValueError(f"timeout={shown(timeout)} is no number of seconds over 0")
        _string("prefix", prefix)
        self._made_of = store, prefix, timeout, options
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._name = store if isinstance(store, str) else f"{type(store).__name__}:{prefix}"
        if options and not isinstance(store, str):
            raise TypeError(f"{next(iter(options))}= is for a URL, and store={shown(store)} is open already")
        try:
            self._store: _Store = (
                opened(store, timeout, options) if isinstance(store, str) else adopted(store)
            )
        except (ImportError, OSError) as error:
            raise RemoteError(f"store={shown(store)} cannot be opened: {error}") from error
        self._is_there = False

    def __reduce__(self) -> tuple[object, ...]:
        """Let another process open it anew: what is connected stays in this one."""
        return _reopened, self._made_of

    def __repr__(self) -> str:
        return f"Bucket({self._name!r})"

    def get(self, key: str) -> bytes | None:
        """Return an object's content; None if there is none.

        A bucket that is not there is an error. It takes the right to list it to tell the two apart, which a
        store that answers 404 asks for too, as a rule.

        Raises:
            RemoteError: The store refuses or does not answer.
        """
        return self._asked("read", key, self._store.get)

    def stat(self, key: str) -> Stat | None:
        """Return what the store says of an object; None if there is none.

        Raises:
            RemoteError: The store refuses or does not answer, or it tells no entity tag.
        """
        found = self._asked("examined", key, self._store.stat)
        if found is None:
            return None
        stat = Stat(*found)
        if not stat.tag:  # another content of the same size would be taken for this one
            raise RemoteError(f"key={key!r} cannot be examined in {self._name}: it tells no entity tag")
        return stat

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
            self._is_there = True

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
        """Replace an object if it is still the one with this tag; of all who try, at most one is told True.

        None is where the answer was lost, as for `create`: put something of your own in, and read it, to
        tell. Where the store has no such condition (a directory, and fsspec), the tag is compared before,
        and of two that do so at once both may be told True.

        Raises:
            RemoteError: The store refuses or does not answer.
        """
        where, content = self._key(key), _content(data, path=False)
        with self._told("replaced", key):
            replaced = bool(tag) and self._store.replace(where, content, tag)
            if not replaced:
                self._require(where)
        return replaced

    def delete(self, key: str) -> None:
        """Remove an object; none is no error.

        Raises:
            RemoteError: The store refuses or does not answer.
        """
        self._asked("removed", key, self._store.delete)

    def settle(self, key: str) -> None:
        """Bring an object's name to the disk, where the store is a directory: it may be there, and not last.

        Who put it may have been killed before that. `create` that finds one, `mark_done` for its outputs and
        `step_done` see to this.

        Raises:
            RemoteError: Its directory cannot be fsynced.
        """
        self._asked("brought to the disk", key, self._store.settle)

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
        with self._told(what, key):
            try:
                found = ask(where)
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):  # the last is below a file
                self._require(where)
                return None
            self._is_there = True
        return found

    def _require(self, where: str) -> None:
        """Refuse to take a store that is not there for an object that is not: the two are answered alike."""
        if not self._is_there:
            self._store.check(where)
            self._is_there = True

    @contextmanager
    def _told(self, what: str, key: str) -> Iterator[None]:
        """Make one kind of error of the many that clients raise, with what was asked and where."""
        try:
            yield
        except Exception as error:
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            told = RemoteError(f"key={key!r} cannot be {what} in {self._name}: {why}")
            vars(told)["outlive_durability"] = getattr(error, "outlive_durability", False)
            raise told from error


def _reopened(store: Any, prefix: str, timeout: float, options: dict[str, Any]) -> Bucket:  # noqa: ANN401 - as above
    return Bucket(store, prefix=prefix, timeout=timeout, **options)


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

    It asks and marks as `outlive.Checkpoints` does, and has less: a marker vouches for outputs alone, and
    `run_steps` does not take it. Where a step has items, let each be a step of its own, such as
    `fetch/oslo`: one that several machines may do at a time.

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

    def step_done(self, name: str, *, outputs: str | Iterable[str] | None = None) -> bool:
        """Return whether a step is marked, and the outputs that its marker names are still what they were.

        Once this says yes, a power cut does not take it back, where the store is a directory either.

        Args:
            name: The step's.
            outputs: The keys that the step is to have made. If they are given, they must also be those that
                were given when it was marked.

        Raises:
            TypeError: The name is no string.
            RemoteError: The store refuses or does not answer.
        """
        return not self._doubt(name, outputs)

    def why(self, name: str, *, outputs: str | Iterable[str] | None = None) -> str:
        """Say in one sentence why a step will run, or will not; the arguments are `step_done`'s.

        Raises:
            TypeError: The name is no string.
            RemoteError: The store refuses or does not answer.
        """
        doubt = self._doubt(name, outputs)
        return f"{name} will run: {doubt}" if doubt else f"{name} will not run: it is done"

    def mark_done(self, name: str, *, outputs: str | Iterable[str] = ()) -> bool:
        """Mark a step whose outputs are there; tell whether it was this call that marked it.

        It was not where another call had marked it, and its outputs are what they were then. In a directory
        and through fsspec, two that mark a step anew at once may both be told that they did.

        Raises:
            TypeError: The name is no string.
            RemoteError: An output is not there, or the store refuses or does not answer.
        """
        wanted = _several(outputs)
        for _ in range(_ROUNDS):
            seen = {key: self.bucket.stat(key) for key in wanted}
            missing = next((key for key, stat in seen.items() if stat is None), None)
            if missing is not None:
                raise RemoteError(f"name={name!r} cannot be marked: its output {missing!r} is not there")
            for key in wanted:
                self.bucket.settle(key)
            content = self._content(name, {key: stat for key, stat in seen.items() if stat is not None})
            if self._marked(name, content, None):
                return True
            old = self.bucket.stat(self._key(name))
            if not self._doubt(name, wanted):
                return False
            if old is not None and self._marked(name, content, old.tag):
                return True
        raise RemoteError(f"name={name!r} cannot be marked: others change its marker all the time")

    def _marked(self, name: str, content: str, tag: str | None) -> bool:
        """Make a marker, or replace the one with a tag; tell whether this call did."""
        key, there = self._key(name), self.bucket
        made = there.create(key, content) if tag is None else there.replace(key, content, tag=tag)
        # A client that has not got the answer tries again, and meets what it made itself.
        return made or there.get(key) == content.encode()

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

    def _doubt(self, name: str, outputs: str | Iterable[str] | None) -> str:
        """Return why a step does not count as done; "" if it does."""
        wanted = None if outputs is None else _several(outputs)
        content = self.bucket.get(self._key(name))
        if content is None:
            return "it is not marked"
        facts = _facts(content)
        if facts is None or facts.get("step") != name or facts.get("run_id") != self.run_id:
            return "its marker is damaged"
        if facts.get("schema") != _SCHEMA:
            return f"its marker was made by another version (schema={facts.get('schema')!r})"
        change = self._change(facts.get("outputs"), wanted)
        if not change:
            self.bucket.settle(self._key(name))
        return change

    def _change(self, known: object, wanted: list[str] | None) -> str:
        """Return what is not as it was when a step was marked; "" if all is."""
        if not isinstance(known, dict):
            return "its marker is damaged"
        if wanted is not None and sorted(known) != sorted(wanted):
            return f"its outputs were {sorted(known)} and are {sorted(wanted)}"
        for key in known:
            stat = self.bucket.stat(key)
            if stat is None:
                return f"its output {key!r} is not there"
            if known[key] != list(stat):
                return f"its output {key!r} is not what it was when the step was marked"
        return ""

    def _folder(self) -> str:
        # A name of a step has no slash left in it, so that no run is below another.
        return f".checkpoints/{stem(self.run_id)}/"

    def _key(self, name: str) -> str:
        return f"{self._folder()}{stem(_string('name', name))}{_SUFFIX}"

    def _content(self, name: str, outputs: Mapping[str, Stat]) -> str:
        facts = {
            "schema": _SCHEMA,
            "run_id": self.run_id,
            "step": name,
            "outputs": {key: list(outputs[key]) for key in sorted(outputs)},
            "by": os.urandom(16).hex(),  # tells it from one that another makes of the same outputs
        }
        return json.dumps(facts) + "\n"


def _several(outputs: str | Iterable[str]) -> list[str]:
    """Return each output once."""
    return [outputs] if isinstance(outputs, str) else list(dict.fromkeys(outputs))


def _facts(content: bytes | None) -> dict[str, Any] | None:
    try:
        facts = json.loads(content or b"")
    except (ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None
