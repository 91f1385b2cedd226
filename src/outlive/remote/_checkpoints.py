"""`RemoteCheckpoints`: the marks of one run, as objects beside its outputs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from outlive._checkpoints.names import stem
from outlive._system.arguments import checked_string, shown

from ._bucket import Bucket, RemoteError
from ._store import Stat

_SCHEMA = 1
_SUFFIX = ".done"
#: Attempts at a marker that other processes change at the same time.
_ROUNDS = 5


class RemoteCheckpoints:
    """Which steps of one run are done, on an object store: an object for each, below `.checkpoints/`.

    Any number of processes on any number of machines may share a run. A step that was killed after its
    outputs were put, and before it was marked, runs again; what it puts then is the same, or, with
    `Bucket.create`, exists already.

    The methods are those of `outlive.Checkpoints`, with less: a marker vouches for outputs alone, and
    `run_steps` does not accept the object. Make each item of a step a step of its own, such as `fetch/oslo`,
    which any machine may do.

    Args:
        bucket: The store of the markers, and of the outputs that they vouch for.
        run_id: The run's id. The empty string is the run without one.

    Raises:
        TypeError: The id is not a string, or the bucket is not a `Bucket`.
    """

    def __init__(self, bucket: Bucket, *, run_id: str = "") -> None:
        if not isinstance(bucket, Bucket):
            raise TypeError(f"bucket={shown(bucket)} is not an outlive.remote.Bucket")
        self.bucket = bucket
        self.run_id = checked_string("run_id", run_id)

    def __repr__(self) -> str:
        return f"RemoteCheckpoints({self.bucket!r}, run_id={self.run_id!r})"

    def step_done(self, name: str, *, outputs: str | Iterable[str] | None = None) -> bool:
        """Return whether a step is marked, and the outputs that its marker names are still what they were.

        Once this returns True, a power cut does not change that, if the store is a directory either.

        Args:
            name: The step's name.
            outputs: The keys that the step makes. If they are given, they must also be those that were given
                when it was marked.

        Raises:
            TypeError: The name is not a string.
            RemoteError: The store refuses or does not answer.
        """
        return not self.why_stale(name, outputs=outputs)

    def why_stale(self, name: str, *, outputs: str | Iterable[str] | None = None) -> str:
        """Return in words why a step is not done; "" if it is. Arguments and errors: see `step_done`."""
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

    def why(self, name: str, *, outputs: str | Iterable[str] | None = None) -> str:
        """Return a sentence that says why a step will run or not. Arguments and errors: see `step_done`."""
        reason = self.why_stale(name, outputs=outputs)
        return f"{name} will run: {reason}" if reason else f"{name} will not run: it is done"

    def mark_done(self, name: str, *, outputs: str | Iterable[str] = ()) -> bool:
        """Mark a step whose outputs exist, and return whether it was this call that marked it.

        It was not if another call had marked the step, and the outputs are what they were then. In a
        directory and through fsspec, two processes that mark a step again at the same time may both get True.

        Raises:
            TypeError: The name is not a string.
            RemoteError: An output does not exist, or the store refuses or does not answer.
        """
        wanted = _several(outputs)
        for _ in range(_ROUNDS):
            seen = {key: self.bucket.stat(key) for key in wanted}
            missing = next((key for key, stat in seen.items() if stat is None), None)
            if missing is not None:
                raise RemoteError(f"name={name!r} cannot be marked: its output {missing!r} does not exist")
            for key in wanted:
                self.bucket.settle(key)
            content = self._content(name, {key: stat for key, stat in seen.items() if stat is not None})
            if self._marked(name, content, None):
                return True
            old = self.bucket.stat(self._key(name))
            if not self.why_stale(name, outputs=wanted):
                return False
            if old is not None and self._marked(name, content, old.tag):
                return True
        raise RemoteError(f"name={name!r} cannot be marked: other processes change its marker all the time")

    def _marked(self, name: str, content: str, tag: str | None) -> bool:
        """Make a marker, or replace the one with a tag; return whether this call did."""
        key, bucket = self._key(name), self.bucket
        made = bucket.create(key, content) if tag is None else bucket.replace(key, content, tag=tag)
        # A client that has lost the answer tries again, and finds what it made itself.
        return made or bucket.get(key) == content.encode()

    def done(self) -> list[str]:
        """Return the names of this run's marked steps, sorted; outputs are not verified.

        Raises:
            RemoteError: The store refuses or does not answer.
        """
        several = (self.bucket.get(key) for key in self.bucket.names(self._folder()) if key.endswith(_SUFFIX))
        facts = filter(None, map(_facts, several))
        return sorted(str(one["step"]) for one in facts if one.get("run_id") == self.run_id and "step" in one)

    def clear(self, name: str | None = None) -> None:
        """Forget one step of this run, or all without a name.

        Raises:
            RemoteError: The store refuses or does not answer.
        """
        keys = [self._key(name)] if name is not None else self.bucket.names(self._folder())
        for key in keys:
            if key.endswith(_SUFFIX):
                self.bucket.delete(key)

    def _change(self, known: object, wanted: list[str] | None) -> str:
        """Return in words what has changed since a step was marked; "" if nothing has."""
        if not isinstance(known, dict):
            return "its marker is damaged"
        if wanted is not None and sorted(known) != sorted(wanted):
            return f"its outputs were {sorted(known)} and are {sorted(wanted)}"
        for key in known:
            stat = self.bucket.stat(key)
            if stat is None:
                return f"its output {key!r} does not exist"
            if known[key] != list(stat):
                return f"its output {key!r} is not what it was when the step was marked"
        return ""

    def _folder(self) -> str:
        # A step's spelling contains no slash, so that no run is below another.
        return f".checkpoints/{stem(self.run_id)}/"

    def _key(self, name: str) -> str:
        return f"{self._folder()}{stem(checked_string('name', name))}{_SUFFIX}"

    def _content(self, name: str, outputs: Mapping[str, Stat]) -> str:
        facts = {
            "schema": _SCHEMA,
            "run_id": self.run_id,
            "step": name,
            "outputs": {key: list(outputs[key]) for key in sorted(outputs)},
            # So that it differs from a marker that another process makes of the same outputs.
            "by": os.urandom(16).hex(),
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
