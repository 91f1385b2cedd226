"""The items of a step: which of them are pending, and their marks, made one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from outlive._atomic.temporary import refuse_child
from outlive._system.arguments import checked_string, shown

from .declaration import (
    Declaration,
    declared,
    full_path,
    record_of,
    refuse_changed,
    refuse_nesting,
    states_before,
    warn_of_nesting,
)
from .staleness import changed_file
from .store import UNMARKED

if TYPE_CHECKING:
    from .checkpoints import Checkpoints
    from .declaration import Paths
    from .staleness import Verify
    from .store import Store, StoredMark

_T = TypeVar("_T")


class Items(Generic[_T]):
    """The items of one step; `Checkpoints.items` returns them.

    Iterating yields the pending items, in order. It marks nothing: `list` may iterate, and so may a pool that
    asks for many items before it works on the first. `doing` and `done` mark an item, in any thread, callback
    or process:

        items = run.items("fetch", cities)
        with ThreadPoolExecutor() as pool:  # or ProcessPoolExecutor
            results = list(pool.map(partial(fetch, items), items))
        run.mark_done("fetch")

        def fetch(items, city):
            with items.doing(city):
                atomic_write(f"{city}.csv", download(city))

    A pickled copy, as in a pool of processes, marks items and has no list of them: iterate over the original.
    Its `key` must be a function that can be pickled, such as one of a module.

    If an item's mark shows that it was done with other parameters, inputs or another version, or that an
    output has changed since, the item is pending, and its mark is forgotten, durably, before the item is
    yielded.
    """

    def __init__(
        self,
        run: Checkpoints,
        step: str,
        items: dict[str, _T],
        key: Callable[[_T], str] | None,
        record: dict[str, Any],
        verify: Verify,
    ) -> None:
        self._run, self._step, self._key, self._verify = run, step, key, verify
        self._record = record
        self._items: dict[str, _T] | None = items
        self._open()

    def _open(self) -> None:
        self._marks: Store = self._run._store.items(self._step)  # noqa: SLF001 - of this package
        self._unmarked: set[str] = set()  # names that have no mark, as far as is known
        self._marked: set[str] = set()  # names that have the right mark, as far as is known

    def __getstate__(self) -> dict[str, Any]:
        gone = ("_items", "_marks", "_unmarked", "_marked")
        return {name: value for name, value in vars(self).items() if name not in gone}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._items = None
        self._open()

    def __repr__(self) -> str:
        return f"<items of step {self._step!r} of {self._run!r}>"

    def __iter__(self) -> Iterator[_T]:
        """Iterate over the pending items.

        Raises:
            TypeError: This is a pickled copy, which has no list.
            OSError: As for `Checkpoints.step_done`; while iterating.
        """
        if self._items is None:
            raise TypeError(
                f"{self!r} has no list in this process; iterate where Checkpoints.items was called"
            )
        self._marks.refresh()
        return self._pending(self._items)

    @contextmanager
    def doing(self, item: _T, *, outputs: Paths | None = None) -> Iterator[None]:
        """Mark an item when the body has ended; if that raises or the process is killed, it stays pending.

        If the item has a mark already, that is forgotten before the body runs.

        Args:
            item: One of the items.
            outputs: As for `done`.

        Raises:
            TypeError, ValueError, OSError, RuntimeError: As for `done`. A child that was forked in the body
                and reaches its end gets a RuntimeError too, and marks nothing.
        """
        name, declaration = self._name_of(item), self._declared(outputs)
        process = os.getpid()
        if name not in self._unmarked:
            self._forget(name, self._marks.look(name))
        yield
        refuse_child(process)
        self._mark(name, declaration)

    def done(self, item: _T, *, outputs: Paths | None = None) -> None:
        """Mark an item. Once this returns, a power cut does not undo the mark; see `Checkpoints.group`.

        What the item made must be on the disk by then. `atomic_write` and the like bring it there; give
        everything that was written otherwise as *outputs*. Marking an item twice is the same as once.

        Args:
            item: One of the items.
            outputs: The files and directories that it made. They are brought to the disk first, and the mark
                records their sizes and digests: the item is pending again once one of them has changed.

        Raises:
            TypeError: The item's name is not a string, or the outputs are not paths.
            ValueError: It is not one of the items; or an output has an impossible name, or contains the
                marks.
            FileNotFoundError: An output does not exist.
            RuntimeError: An output changed while it was recorded; the item is not marked.
            OSError: The operating system refuses.
        """
        self._mark(self._name_of(item), self._declared(outputs))

    def refuse_pending(self) -> None:
        """Refuse to mark the step while an item is pending.

        Raises:
            RuntimeError: An item is pending.
        """
        left = [name for name in self._items or () if name not in self._marked]
        if not left:
            return
        self._marks.refresh()  # another process may have marked it
        pending = [name for name in left if not self._is_right(self._marks.look(name))]
        if pending:
            raise RuntimeError(
                f"name={self._step!r} cannot be marked: {len(pending)} of its {len(self._items or ())} items "
                f"are pending, such as {shown(pending[0])}"
            )

    def _pending(self, items: dict[str, _T]) -> Iterator[_T]:
        known = () if self._record else self._marks.known
        is_settled = False
        for name, item in items.items():
            if name in known:
                self._marked.add(name)
                continue
            mark = self._marks.look(name)
            if self._is_right(mark) and not changed_file(mark, self._run.directory, self._verify):
                self._marks.settle(name)
                self._marked.add(name)
                continue
            is_settled = self._forget(name, mark, is_settled=is_settled)
            yield item

    def _is_right(self, mark: StoredMark) -> bool:
        """Return whether a mark was made with what the step declares now."""
        record = {field: value for field, value in mark.record.items() if field != "outputs"}
        return not mark.problem and record == self._record

    def _forget(self, name: str, mark: StoredMark, *, is_settled: bool = False) -> bool:
        """Remove the mark of an item before its work begins: a kill in the middle must leave it pending.

        A run that removed some may have been killed before that was on the disk. One fsync brings all of them
        there; return whether it was done.
        """
        if mark is not UNMARKED:
            self._marks.check(name)
            self._marks.forget(name)
        elif not is_settled:
            with suppress(FileNotFoundError):  # no item was ever marked
                self._marks.settle(name)
            is_settled = True
        self._unmarked.add(name)
        self._marked.discard(name)
        return is_settled

    def _name_of(self, item: _T) -> str:
        name = _checked_name("item" if self._key is None else f"key({shown(item)})", item, self._key)
        if self._items is not None and name not in self._items:
            raise ValueError(f"item={shown(item)} is not one of the items of step {self._step!r}")
        return name

    def _declared(self, outputs: Paths | None) -> Declaration:
        """Return what is declared of outputs, by absolute paths: a body may change the working directory."""
        declaration = declared(None, outputs, None, None)
        if declaration.outputs is None:
            return declaration
        if self._run.store == "sqlite":
            refuse_nesting("outputs", declaration.outputs, self._run.directory)
        return declaration._replace(outputs=[full_path(path) for path in declaration.outputs])

    def _mark(self, name: str, declaration: Declaration) -> None:
        self._marks.check(name)
        is_inside = warn_of_nesting(declaration.outputs, self._run.directory)
        before = states_before(declaration, {})
        record = record_of(declaration, os.path.dirname(self._run.directory), before) if before else {}
        self._unmarked.discard(name)
        self._marks.put(name, {**record, **self._record})
        try:  # a change before the mark was written would not be noticed later
            refuse_changed({} if is_inside else before)
        except RuntimeError:
            self._marks.forget(name)
            raise
        self._marked.add(name)


def named_items(items: Iterable[_T], key: Callable[[_T], str] | None) -> dict[str, _T]:
    """Return items by their names, in order.

    Raises:
        TypeError: A name is not a string.
        ValueError: Two items have one name.
    """
    named: dict[str, _T] = {}
    for position, item in enumerate(items):
        where = f"items[{position}]" if key is None else f"key(items[{position}])"
        name = _checked_name(where, item, key)
        if name in named:
            first = list(named).index(name)
            raise ValueError(f"items[{position}] has the name of items[{first}]: {shown(name)}")
        named[name] = item
    return named


def _checked_name(where: str, item: _T, key: Callable[[_T], str] | None) -> str:
    """Return an item's name.

    Raises:
        TypeError: It is not a string.
    """
    name: Any = key(item) if key else item
    return name if type(name) is str else checked_string(where, name)
