"""`Checkpoints`: which steps are done. Each has a mark, made after its outputs are on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from outlive._system.arguments import checked_path, checked_string, shown

from .declaration import (
    EMPTY,
    RUNNING,
    Declaration,
    RunningStep,
    declared,
    item_record,
    record_of,
    refuse_changed,
    refuse_nesting,
    states_before,
    warn_of_nesting,
)
from .items import Items, named_items
from .staleness import check_verify, why_stale
from .store import opened_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager
    from typing import Literal
    from weakref import WeakSet

    from .declaration import Paths
    from .staleness import Verify

_T = TypeVar("_T")

DEFAULT_DIRECTORY = ".checkpoints"
_NOT_RUNNING = RunningStep(EMPTY, {}, [], [])


class Checkpoints:
    """The marks of one run: which of its steps are done.

    Mark a step when its outputs are in place, and keep the directory of the marks apart from the outputs.

    The run's id is part of a mark's identity. Two runs with different ids do not see each other's marks. With
    the same id, or none, the second run continues where the first one stopped, and skips everything if that
    one finished. So a pipeline that runs daily takes the day as its id, and one that runs hourly the hour.

    Any string is a name or an id. In the names of files, lower-case ASCII letters, digits, `_` and `-` stand
    for themselves, and all other bytes are spelt `%xx`; a long name is cut and ends in a hash. So `clean` is
    `clean.done`, and in the run `monday` it is `monday/clean.done`. No two names share a marker, even if the
    file system ignores case, and no marker lies outside the directory. A name that stands for a device on
    Windows, such as `aux`, begins with `%xx`: `%61ux.done`.

    One file for each mark suits some hundred steps: `ls` shows them, and they can be removed by hand. For
    thousands of items there is `store="sqlite"`: all marks are in the file `marks.sqlite` of the directory,
    at a fraction of the cost for each, and almost none for a `group`. This store reads the marks when it is
    first asked, and whenever items are iterated over. In between it does not see what other processes mark or
    clear, nor what another such object of this process clears. So processes that work side by side should
    have different steps or items. Neither store sees the other's marks.

    The object can be pickled, and then opens the same marks in the other process.

    Args:
        directory: The directory of the marks. It is made when the first step is marked; its own parent must
            exist. A relative path is resolved here: a later chdir does not redirect it.
        run_id: The run's id. The empty string is the run without one.
        store: "files", or "sqlite". On a network file system the latter warns, and works without a
            write-ahead log, which needs memory that all its users share (https://sqlite.org/wal.html).

    Raises:
        TypeError: The directory is not a path, or the id is not a string.
        ValueError: The directory is empty or an impossible name, or the store is unknown; or, on first use,
            the SQLite file was made by another program or a newer version.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] = DEFAULT_DIRECTORY,
        *,
        run_id: str = "",
        store: Literal["files", "sqlite"] = "files",
    ) -> None:
        self.directory = os.path.abspath(checked_path("directory", directory))
        self.run_id = checked_string("run_id", run_id)
        self.store = store
        self._base, self._place = os.path.dirname(self.directory), ""
        self._open()

    def _open(self) -> None:
        self._store = opened_store(self.store, self.directory, self.run_id)
        self._known = self._store.known
        self._given: dict[str, WeakSet[Items[Any]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs to open the same marks, which excludes a connection."""
        gone = ("_store", "_known", "_given")
        return {name: value for name, value in vars(self).items() if name not in gone}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def __repr__(self) -> str:
        store = "" if self.store == "files" else f", store={self.store!r}"
        return f"Checkpoints({self.directory!r}, run_id={self.run_id!r}{store})"

    def step_done(
        self,
        name: str,
        *,
        inputs: Paths | None = None,
        outputs: Paths | None = None,
        params: Mapping[str, object] | None = None,
        version: str | None = None,
        verify: Verify = "stat",
    ) -> bool:
        """Return whether a step of this run is done. After True, a power cut does not change that.

        The run that marked the step may have been killed before the mark was on the disk. A pipeline that
        skips the step may remove its inputs, so the mark is brought to the disk first.

        The files that the mark records are verified, whether or not they are named here: a step is not done
        if an output is missing, truncated or altered, or an input is another. An input that was removed does
        not matter. If inputs, outputs, parameters or a version are given, they must also be those that were
        given when the step was marked.

        Args:
            name: The step's name.
            inputs: The paths that the step reads.
            outputs: The paths that the step makes.
            params: What the outputs depend on.
            version: The version of the step's code.
            verify: "stat" reads a file only if its size is right and it was last changed after the mark was
                written, or at the same time; or, if the marks are on another file system, less than two
                seconds before. "hash" always reads it.

        Raises:
            TypeError: The name is not a string, or another argument has the wrong type.
            ValueError: The way to verify is unknown.
            OSError: The mark or a file exists and cannot be read, or something else stands where the
                directory of the marks should be, or that cannot be fsynced.
        """
        check_verify(verify)
        is_plain = inputs is None and outputs is None and params is None and version is None
        if is_plain and type(name) is str and name in self._known:  # such a mark has nothing to verify
            return True
        return not self.why_stale(
            name, inputs=inputs, outputs=outputs, params=params, version=version, verify=verify
        )

    def why_stale(
        self,
        name: str,
        *,
        inputs: Paths | None = None,
        outputs: Paths | None = None,
        params: Mapping[str, object] | None = None,
        version: str | None = None,
        verify: Verify = "stat",
    ) -> str:
        """Return in words why a step is not done; "" if it is. Arguments and errors: see `step_done`."""
        check_verify(verify)
        is_plain = inputs is None is outputs and params is None is version
        declaration = EMPTY if is_plain else declared(inputs, outputs, params, version)
        name = checked_string("name", name)
        found = why_stale(self._store.look(name), declaration, self.directory, verify)
        if not found:
            self._store.settle(name)
        return found

    def why(
        self,
        name: str,
        *,
        inputs: Paths | None = None,
        outputs: Paths | None = None,
        params: Mapping[str, object] | None = None,
        version: str | None = None,
        verify: Verify = "stat",
    ) -> str:
        """Return a sentence that says why a step will run or not. Arguments and errors: see `step_done`."""
        name = checked_string("name", name)
        reason = self.why_stale(
            name, inputs=inputs, outputs=outputs, params=params, version=version, verify=verify
        )
        return f"{name} will run: {reason}" if reason else f"{name} will not run: it is done"

    def mark_done(
        self,
        name: str,
        *,
        inputs: Paths | None = None,
        outputs: Paths | None = None,
        params: Mapping[str, object] | None = None,
        version: str | None = None,
    ) -> None:
        """Mark a step of this run. Once this returns, a power cut does not undo the mark; see `group`.

        The outputs that are given are brought to the disk first, each with its name. The mark records the
        sizes and digests of inputs and outputs: it vouches for them. An existing mark is replaced, even a
        damaged one. The names of links on the way to an output are brought to the disk as well, and those of
        the directories that contain it, up to the one that contains the directory of the marks as well.

        Args:
            name: The step's name.
            inputs: The paths that the step has read: files, or directories with everything below. A link
                below a directory counts by its target's path, and not by what is there. Inputs are recorded
                as they are now; only `run_steps` notices an input that changed while the step ran.
            outputs: The paths that the step has made: files, or directories with everything below.
            params: What the outputs depend on: data that JSON can hold.
            version: The version of the step's code.

        Raises:
            TypeError: The name is not a string, or another argument has the wrong type.
            ValueError: A path is empty or an impossible name; or an input contains the marks, or an output
                contains the SQLite file.
            RuntimeError: An input or output changed while it was recorded; or an item of the step is pending,
                among those of this object's `items` that are still referred to.
            FileNotFoundError: An input or output does not exist; or the parent of the directory of the marks
                does not.
            NotADirectoryError: Something else stands where the directory of the marks should be.
            IsADirectoryError: A directory stands where the marker should be.
            OSError: The operating system refuses.
        """
        name = checked_string("name", name)
        self._store.check(name)
        declaration = declared(inputs, outputs, params, version)
        refuse_nesting("inputs", declaration.inputs, self.directory)
        if self.store == "sqlite":
            refuse_nesting("outputs", declaration.outputs, self.directory)
        is_inside = warn_of_nesting(declaration.outputs, self.directory)
        step = self._running(name)
        for items in (*step.items, *self._given.get(name, ())):
            items.refuse_pending()
        before = states_before(declaration, step.input_states)
        record = record_of(declaration, self._base, before)
        self._store.put(name, {**record, "after": step.after} if step.after else record)
        try:  # a change before the mark was written would not be noticed later
            refuse_changed({} if is_inside else before)  # the mark itself changes an output that contains it
        except RuntimeError:
            self._store.forget(name)
            raise

    def items(
        self,
        name: str,
        items: Iterable[_T],
        *,
        key: Callable[[_T], str] | None = None,
        inputs: Paths | None = None,
        params: Mapping[str, object] | None = None,
        version: str | None = None,
        verify: Verify = "stat",
    ) -> Items[_T]:
        """Return the items of a step, to iterate over those that are pending and to mark each of them.

        Iterating marks nothing. An item is done once it was marked, in whatever thread or process. An item
        whose work raised or was killed stays pending, and its work is done again:

            items = run.items("fetch", cities)
            for city in items:
                with items.doing(city):
                    atomic_write(f"{city}.csv", download(city))
            run.mark_done("fetch")

        After the last item, mark the step itself: `mark_done` refuses while an item is pending.

        An item that was done with other inputs, parameters or another version, or with none declared, is
        pending again. What a step declares to `run_steps` is known here, in the same process and under the
        step's own name, and need not be given again. An item's mark vouches for the outputs that `Items.done`
        was given. Its other files are not verified: forget the step with `clear` before it runs again because
        an output has changed, as `run_steps` does.

        Args:
            name: The step's name.
            items: Everything that the step has to do. It is read here, once.
            key: A function that returns an item's name. Names must be unique, and the same in each run.
                Without a key the items are strings, and are their own names.
            inputs: The paths that the step reads, as they are now.
            params: What the outputs depend on.
            version: The version of the step's code.
            verify: How the outputs of items are verified, as for `step_done`.

        Raises:
            TypeError: An argument has the wrong type, or an item's name is not a string.
            ValueError: Two items have one name; a path is empty or an impossible name; or an input contains
                the marks.
            RuntimeError: An input has changed since `run_steps` began with the step.
            OSError: As for `step_done` and `mark_done`.
        """
        from weakref import WeakSet  # noqa: PLC0415 - keeps `import outlive` light

        name = checked_string("name", name)
        check_verify(verify)
        given, step = declared(inputs, None, params, version), self._running(name)
        declaration = Declaration(
            step.declaration.inputs if given.inputs is None else given.inputs,
            None,
            step.declaration.params if given.params is None else given.params,
            step.declaration.version if given.version is None else given.version,
        )
        refuse_nesting("inputs", declaration.inputs, self.directory)
        record = item_record(declaration, self._base, step.input_states)
        found = Items(self, name, named_items(items, key), key, record, verify)
        if step is _NOT_RUNNING:
            self._given.setdefault(name, WeakSet()).add(found)
        else:
            step.items.append(found)
        return found

    def group(self, *, most: int = 1000) -> AbstractContextManager[None]:
        """Bring the marks that are made in the body to the disk together, if the store can.

        With `store="sqlite"` marks are held back and written in one transaction, with one fsync: when there
        are `most` of them, when one of them is asked for, and when the body ends, even by an error. A run
        that is killed has lost the marks that were held back, and repeats their work; of items that are done
        again it has forgotten as many. With `store="files"` each mark is on the disk at once, as outside of a
        group.

        A group belongs to its thread: marks that other threads make are not held back. Groups can be nested;
        when an inner one ends, everything that is held back is written.

        Args:
            most: The number of marks that are held back at a time.

        Raises:
            ValueError: `most` is not a whole number from 1.
        """
        if type(most) is not int or most < 1:
            raise ValueError(f"most={shown(most)} is not a whole number from 1")
        return self._store.group(most)

    def done(self) -> list[str]:
        """Return the names of this run's marked steps, sorted; outputs are not verified.

        Raises:
            OSError: The directory of the marks, or a marker, exists and cannot be read.
        """
        return self._store.names()

    def runs(self) -> list[str]:
        """Return the ids of all runs with a mark in the directory, in this store, sorted.

        Raises:
            OSError: The directory exists and cannot be read.
        """
        return self._store.runs()

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield a description of each mark of this run, as JSON can hold it: steps, then items.

        Each has `run_id` and `step`, an item's also `item`, and what the mark vouches for: `inputs`,
        `outputs`, `params`, `version`. A mark of `run_steps` also has the names of the steps that it came
        `after`, and an item has `declared`, a digest of what its step declared. `marked_at` is in ns since
        1970. If a mark is damaged or of a newer version, its description has `file` and `doubt` instead.

        Raises:
            OSError: As for `done`.
        """
        return self._store.records()

    def clear(self, name: str | None = None) -> None:
        """Forget one step of this run, or all without a name, and their items, durably.

        A missing mark is not an error. Without a name, every `.done` file of the run is removed, even a
        damaged one, and the directories of items and of the run if they are empty then. The directory of the
        marks stays.

        Raises:
            TypeError: The name is not a string.
            NotADirectoryError: Something else stands where the directory of the marks should be.
            IsADirectoryError: A directory stands where the marker should be.
            OSError: The operating system refuses.
        """
        if name is not None:
            name = checked_string("name", name)
            self._store.check(name)
        for one in [*self._given] if name is None else [name]:
            self._given.pop(one, None)  # what they know of marks is outdated
        self._store.forget(name)

    def _running(self, name: str) -> RunningStep:
        if not RUNNING:
            return _NOT_RUNNING
        self._place = self._place or os.path.realpath(self.directory)  # once, as it takes longer than a look
        return RUNNING.get((self.store, self._place, self.run_id, name), _NOT_RUNNING)
