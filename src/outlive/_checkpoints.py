"""Which steps are done: each has a mark, made when its outputs are on the disk, verified when believed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from ._claims import (
    NOTHING,
    UNDER_WAY,
    UnderWay,
    Wish,
    doubt,
    of_item,
    recorded,
    refuse_changed,
    refuse_nesting,
    states_before,
    warn_of_nesting,
    wished,
)
from ._items import Items, named_items
from ._marker_files import MarkerFiles
from ._place import checked_path, shown
from ._stores import checked_string

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager
    from typing import Literal
    from weakref import WeakSet

    from ._claims import Paths
    from ._stores import Store

    Verify = Literal["stat", "hash"]

_T = TypeVar("_T")

DEFAULT_DIRECTORY = ".checkpoints"
_VERIFY = ("stat", "hash")
_NOT_UNDER_WAY = UnderWay(NOTHING, {}, [], [])


def step_done(
    name: str,
    *,
    run_id: str = "",
    inputs: Paths | None = None,
    outputs: Paths | None = None,
    params: Mapping[str, object] | None = None,
    version: str | None = None,
    verify: Verify = "stat",
) -> bool:
    """Tell whether a step is marked in `.checkpoints` of the current directory; see `Checkpoints`."""
    run = Checkpoints(run_id=run_id)
    return run.step_done(name, inputs=inputs, outputs=outputs, params=params, version=version, verify=verify)


def mark_done(
    name: str,
    *,
    run_id: str = "",
    inputs: Paths | None = None,
    outputs: Paths | None = None,
    params: Mapping[str, object] | None = None,
    version: str | None = None,
) -> None:
    """Mark a step in `.checkpoints` of the current directory, durably; see `Checkpoints`."""
    run = Checkpoints(run_id=run_id)
    run.mark_done(name, inputs=inputs, outputs=outputs, params=params, version=version)


class Checkpoints:
    """The markers of one run: which of its steps are done.

    Mark a step when its outputs are in place, and keep the directory apart from the outputs: it says
    what happened, and is none of the results.

    The run's id is part of a marker's identity. Two runs with two ids know nothing of one another; with
    the same id, or none, the second goes on where the first stopped, and skips all if that finished.
    A pipeline that runs once a day over new input thus takes the day as its id, and one that runs
    several times a day takes something finer.

    Any string is a name or an id. Lower-case ASCII letters, digits, `_` and `-` stand for themselves in
    the names of files, all other bytes as `%xx`; what is too long ends in a hash. So `clean` is
    `clean.done`, and in the run `monday` it is `monday/clean.done`; no two names share a marker, also
    where the file system ignores case, and none lies outside the directory. A name that is a device's on
    Windows, such as `aux`, begins with `%xx`: `%61ux.done`.

    A file each is what one wants for some hundred steps: it is seen by `ls`, and removed by hand. For those
    who mark thousands of items there is `store="sqlite"`: all marks in the file `marks.sqlite` of the
    directory, a fraction of the cost for each, and for a `group` of them almost none. It reads what is
    marked when it is first asked: what other processes mark or clear after that, it does not notice, nor what
    another such object of this process clears, so that those that work side by side should have different
    steps or items. Neither store sees the other's marks.

    Args:
        directory: Where the markers are. It is made when the first step is marked; its own parent must
            exist. A relative path is resolved here: a later chdir redirects nothing.
        run_id: Which run this is. The empty string is the run that needs no id.
        store: "files", or "sqlite". On a network file system the latter warns, and works without a
            write-ahead log, which needs memory that all its users share (https://sqlite.org/wal.html).

    Raises:
        TypeError: The directory is no path, or the id no string.
        ValueError: The directory is empty or no possible name, or the store none of the two; or, when it is
            first looked into, the SQLite file is none of outlive's, or a newer version's.
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
        self._store = _opened(store, self.directory, self.run_id)
        self._known = self._store.known
        self._base, self._place = os.path.dirname(self.directory), ""
        self._given: dict[str, WeakSet[Items[Any]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs to open the same marks: a connection is not among it."""
        gone = ("_store", "_known", "_given")
        return {name: value for name, value in vars(self).items() if name not in gone}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._store = _opened(self.store, self.directory, self.run_id)
        self._known = self._store.known
        self._given = {}

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
        """Tell whether a step of this run is marked; once this says yes, a power cut does not take it back.

        The run that marked it may have been killed before its marker was on the disk. A pipeline that
        skips the step may remove what the step was made from, so the marker is brought to the disk first.

        What the marker says of files is verified, whether or not they are named here: a step is not done
        whose output is missing, truncated or altered, or whose input is another. An input that is not there
        any more undoes nothing. Of inputs, outputs, parameters and version, what is given must also be what
        was given when the step was marked.

        Args:
            name: The step's.
            inputs: The paths that the step is to be made from.
            outputs: The paths that the step is to have made.
            params: What it was to be made with.
            version: Of the step's code, as its author counts.
            verify: "stat" reads a file only where its size is right and it was last changed after the marker
                was written, or at the same time; or, where the markers are on another file system, less than
                two seconds before. "hash" reads it always.

        Raises:
            TypeError: The name is no string, or another argument not what it should be.
            ValueError: The verification is none.
            NotADirectoryError: A file stands where the markers' directory should be.
            OSError: The marker or an output is there and cannot be read, or the markers' directory cannot be
                fsynced.
        """
        _check_verify(verify)
        is_plain = inputs is None and outputs is None and params is None and version is None
        if is_plain and type(name) is str and name in self._known:  # such a mark has nothing to verify
            return True
        return not self.doubt(
            name, inputs=inputs, outputs=outputs, params=params, version=version, verify=verify
        )

    def doubt(
        self,
        name: str,
        *,
        inputs: Paths | None = None,
        outputs: Paths | None = None,
        params: Mapping[str, object] | None = None,
        version: str | None = None,
        verify: Verify = "stat",
    ) -> str:
        """Say why a step does not count as done, in some words; "" if it does. All else is as in `step_done`.

        Raises:
            TypeError, ValueError, OSError: As `step_done`.
        """
        _check_verify(verify)
        is_plain = inputs is None is outputs and params is None is version
        wish = NOTHING if is_plain else wished(inputs, outputs, params, version)
        name = checked_string("name", name)
        found = doubt(self._store.look(name), wish, self.directory, verify)
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
        """Say in one sentence why a step will run, or will not; the arguments are `step_done`'s.

        Raises:
            TypeError, ValueError, OSError: As `step_done`.
        """
        name = checked_string("name", name)
        why = self.doubt(name, inputs=inputs, outputs=outputs, params=params, version=version, verify=verify)
        return f"{name} will run: {why}" if why else f"{name} will not run: it is done"

    def mark_done(
        self,
        name: str,
        *,
        inputs: Paths | None = None,
        outputs: Paths | None = None,
        params: Mapping[str, object] | None = None,
        version: str | None = None,
    ) -> None:
        """Mark a step of this run; once this returns, a power cut does not take it back.

        Outputs that are named are brought to the disk first, each with its name, and the marker records their
        sizes and digests, and those of inputs: it vouches for them. A marker that is there, also a damaged
        one, is replaced. The names of links on the way are brought to the disk as well, and those of the
        directories that outputs are in, up to the one that holds the markers' directory, or one above both.

        Args:
            name: The step's.
            inputs: The paths that the step was made from: files, or directories with all that is below. Of a
                link below a directory it counts where it leads, not what is there. They are recorded as they
                are now: what was changed while the step ran is seen by `run_steps` alone.
            outputs: The paths that the step has made: files, or directories with all that is below.
            params: What it was made with: data that JSON can hold.
            version: Of the step's code, as its author counts.

        Raises:
            TypeError: The name is no string, or another argument not what it should be.
            ValueError: A path is empty or no possible name; or the markers lie inside an input, or those of
                the SQLite store inside an output.
            RuntimeError: An input or output was changed while it was recorded; or an item of the step is
                pending, among those of this object's `items` that are still referred to.
            FileNotFoundError: An input or output is not there; or the directory does not exist that the
                markers' directory is to be made in.
            NotADirectoryError: A file stands where the markers' directory should be.
            IsADirectoryError: A directory stands where the marker should be.
            OSError: The operating system refuses.
        """
        name = checked_string("name", name)
        self._store.check(name)
        wish = wished(inputs, outputs, params, version)
        refuse_nesting("inputs", wish.inputs, self.directory)
        if self.store == "sqlite":
            refuse_nesting("outputs", wish.outputs, self.directory)
        is_inside = warn_of_nesting(wish.outputs, self.directory)
        step = self._under_way(name)
        for items in (*step.items, *self._given.get(name, ())):
            items.refuse_pending()
        before = states_before(wish, step.states)
        claims = recorded(wish, self._base, before)
        self._store.put(name, {**claims, "after": step.after} if step.after else claims)
        try:  # what was changed before the mark was written would not be read again
            refuse_changed({} if is_inside else before)  # by the mark itself
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
        """Return the items of a step: to iterate over those that are not done yet, and to mark each.

        To iterate marks nothing. An item is done once it was marked, in whatever thread or process; one whose
        work raised or was killed is pending, and what had been done to it is done again:

            items = run.items("fetch", cities)
            for city in items:
                with items.doing(city):
                    atomic_write(f"{city}.csv", download(city))
            run.mark_done("fetch")

        When all are done, mark the step itself: `mark_done` refuses while one of them is pending.

        An item that was done with other inputs, parameters or another version, or with none declared, is
        pending again. What a step declares to `run_steps` is known here, in the same process and under the
        step's own name, and need not be given again. Of the files that an item made its mark vouches for
        those that `Items.done` names. For all others: forget a step with `clear` before it is done again
        because an output is not what it was, as `run_steps` does.

        Args:
            name: The step's.
            items: All that it has to do. They are read here, once.
            key: Gives an item's name, which must be its own and the same in each run; without it the items
                are strings, which are their names.
            inputs: What the step is made from, as it is when this is called.
            params: What it is made with.
            version: Of the step's code.
            verify: How the outputs of items are looked at, as for `step_done`.

        Raises:
            TypeError: An argument is not what it should be, or an item's name is no string.
            ValueError: Two items have one name; a path is empty or no possible name; or the markers lie
                inside an input.
            RuntimeError: An input was changed since `run_steps` began with the step.
            OSError: As `step_done` and `mark_done`.
        """
        from weakref import WeakSet  # noqa: PLC0415 - keeps `import outlive` light

        name = checked_string("name", name)
        _check_verify(verify)
        given, step = wished(inputs, None, params, version), self._under_way(name)
        wish = Wish(
            step.wish.inputs if given.inputs is None else given.inputs,
            None,
            step.wish.params if given.params is None else given.params,
            step.wish.version if given.version is None else given.version,
        )
        refuse_nesting("inputs", wish.inputs, self.directory)
        claims = of_item(wish, self._base, step.states)
        found = Items(self, name, named_items(items, key), key, claims, verify)
        if step is _NOT_UNDER_WAY:
            self._given.setdefault(name, WeakSet()).add(found)
        else:
            step.items.append(found)
        return found

    def group(self, *, most: int = 1000) -> AbstractContextManager[None]:
        """Bring the marks that are made in the body to the disk together, where the store can.

        With `store="sqlite"` they are held back and written in one transaction, which costs one fsync, when
        there are `most` of them, when one of them is asked for, and when the body ends, also by an error.
        A run that is killed has lost those that were held back, and does their work again; of items that are
        done anew it has forgotten as many. With `store="files"` each is on the disk at once, as ever.

        A group is its thread's: marks that other threads make are not held back by it. Inside a group
        another one may be opened; when that ends, what is held back is written.

        Args:
            most: Marks that are held back at a time.

        Raises:
            ValueError: `most` is no whole number from 1.
        """
        if type(most) is not int or most < 1:
            raise ValueError(f"most={shown(most)} is no whole number from 1")
        return self._store.group(most)

    def marked(self, name: str) -> bool:
        """Tell whether a step has a mark, whatever has become since of what that vouches for.

        Raises:
            TypeError, OSError: As `step_done`.
        """
        return not self._store.look(checked_string("name", name)).doubt

    def done(self) -> list[str]:
        """Return the names of this run's marked steps, sorted. Files that are no markers are ignored.

        Their outputs are not looked at.

        Raises:
            NotADirectoryError: A file stands where the markers' directory should be.
            OSError: The directory or a marker is there and cannot be read.
        """
        return self._store.names()

    def runs(self) -> list[str]:
        """Return the ids of all runs that have a mark in the directory, in this store, sorted.

        Raises:
            NotADirectoryError: A file stands where the markers' directory should be.
            OSError: The directory cannot be read.
        """
        return self._store.runs()

    def marked_after(self) -> dict[str, list[str]]:
        """Return, by name, what steps have marked followers: those that were said to come after them.

        `run_steps` forgets these when such a step runs, also if they are not in its list.

        Raises:
            OSError: As `done`.
        """
        found: dict[str, list[str]] = {}
        for name in self._store.names():
            for before in self._store.look(name).claims.get("after", ()):
                found.setdefault(before, []).append(name)
        return found

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield what there is to tell of each mark of this run, as JSON can hold it: steps, then items.

        Each has `run_id` and `step`, an item's also `item`, and what it vouches for: `inputs`, `outputs`,
        `params`, `version`; what `run_steps` marked has also the names of what it came `after`, and an item
        `declared`, a digest of what its step declared. `marked_at` is in ns since 1970. What stands in a
        mark's place and is none, or a newer version's, has `file` and `doubt` instead.

        Raises:
            OSError: As `done`.
        """
        return self._store.records()

    def clear(self, name: str | None = None) -> None:
        """Forget one step of this run, or with no name all of them, durably, and their items.

        No marker is no error. To forget all is to remove every `.done` file of the run, damaged ones too,
        and the directories of items and of the run if nothing else is in them. The markers' directory stays.

        Raises:
            TypeError: The name is no string.
            NotADirectoryError: A file stands where the markers' directory should be.
            IsADirectoryError: A directory stands where the marker should be.
            OSError: The operating system refuses.
        """
        if name is not None:
            name = checked_string("name", name)
            self._store.check(name)
        for one in [*self._given] if name is None else [name]:
            self._given.pop(one, None)  # what they know of marks is no more so
        self._store.forget(name)

    def settle(self, name: str) -> None:
        """Bring to the disk that a step has a mark, or that it has none: a power cut then changes neither.

        A run that forgot it may have been killed before that was on the disk. `run_steps` sees to this.

        Raises:
            TypeError: The name is no string.
            OSError: The markers' directory cannot be fsynced.
        """
        with suppress(FileNotFoundError):  # where no step was ever marked
            self._store.settle(checked_string("name", name))

    def _under_way(self, name: str) -> UnderWay:
        if not UNDER_WAY:
            return _NOT_UNDER_WAY
        self._place = self._place or os.path.realpath(self.directory)  # once: it costs more than to look
        return UNDER_WAY.get((self.store, self._place, self.run_id, name), _NOT_UNDER_WAY)


def _check_verify(verify: object) -> None:
    if verify not in _VERIFY:
        raise ValueError(f"verify={shown(verify)} is not one of {', '.join(map(repr, _VERIFY))}")


def _opened(store: str, directory: str, run_id: str) -> Store:
    if store == "sqlite":
        from ._sqlite_marks import SqliteMarks  # noqa: PLC0415 - for those who mark many

        return SqliteMarks(directory, run_id)
    if store != "files":
        raise ValueError(f"store={shown(store)} is not one of 'files', 'sqlite'")
    return MarkerFiles(directory, run_id)
