"""The items of a step: which of them are pending, and their marks, made one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._claims import (
    Wish,
    altered,
    recorded,
    refuse_changed,
    refuse_nesting,
    states_before,
    warn_of_nesting,
    whole,
    wished,
)
from ._place import shown
from ._stores import UNMARKED, checked_string
from ._temporary import refuse_child

if TYPE_CHECKING:
    from ._checkpoints import Checkpoints, Verify
    from ._claims import Paths
    from ._stores import Seen, Store

_T = TypeVar("_T")


class Items(Generic[_T]):
    """The items of one step, as `Checkpoints.items` gives them.

    Iterating gives those that are not done, in order. It marks nothing: `list` may do it, and a pool that
    asks for many items before it works on the first. An item is marked by `doing` or `done`, in any thread,
    callback or process:

        items = run.items("fetch", cities)
        with ThreadPoolExecutor() as pool:  # or ProcessPoolExecutor
            results = list(pool.map(partial(fetch, items), items))
        run.mark_done("fetch")

        def fetch(items, city):
            with items.doing(city):
                atomic_write(f"{city}.csv", download(city))

    Pickled, as for a pool of processes, it marks but has no list: iterate where it was made. A `key` must be
    one that can be pickled then, such as a function of a module.

    An item whose mark says that it was done otherwise (with other parameters, inputs or version, or with an
    output that is another by now) is pending, and its mark is forgotten, durably, before the item is given.
    """

    def __init__(
        self,
        run: Checkpoints,
        step: str,
        items: dict[str, _T],
        key: Callable[[_T], str] | None,
        claims: dict[str, Any],
        verify: Verify,
    ) -> None:
        self._run, self._step, self._key, self._verify = run, step, key, verify
        self._claims = claims
        self._items: dict[str, _T] | None = items
        self._open()

    def _open(self) -> None:
        self._marks: Store = self._run._store.items(self._step)  # noqa: SLF001 - of this package
        self._unmarked: set[str] = set()  # names that are known to have no mark
        self._marked: set[str] = set()  # names that are known to have the right one

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
        """Iterate over the items that are not done.

        Raises:
            TypeError: The object was pickled, and has no list.
            OSError: As `Checkpoints.step_done`; in the course of it.
        """
        if self._items is None:
            raise TypeError(
                f"{self!r} has no list in this process; iterate where Checkpoints.items was called"
            )
        self._marks.refresh()
        return self._pending(self._items)

    @contextmanager
    def doing(self, item: _T, *, outputs: Paths | None = None) -> Iterator[None]:
        """Mark an item when the body has ended; if the body raises, or the process is killed, it is pending.

        Where the item has a mark already, that is forgotten before the body runs.

        Args:
            item: One of the items.
            outputs: As for `done`.

        Raises:
            TypeError, ValueError, OSError, RuntimeError: As `done`. A child that was forked in the body and
                comes to its end is a RuntimeError too, and marks nothing.
        """
        name, wish = self._name_of(item), self._wish(outputs)
        process = os.getpid()
        if name not in self._unmarked:
            self._forget(name, self._marks.look(name))
        yield
        refuse_child(process)
        self._mark(name, wish)

    def done(self, item: _T, *, outputs: Paths | None = None) -> None:
        """Mark an item. Once this returns, a power cut does not take the mark back; see `Checkpoints.group`.

        What the item made must be on the disk by then. `atomic_write` and its like see to that; name all
        that was written otherwise as *outputs*. To mark an item twice is as good as once.

        Args:
            item: One of the items.
            outputs: The files and directories that it made. They are brought to the disk first, and the mark
                records their sizes and digests: the item is pending again once one of them is another.

        Raises:
            TypeError: The item's name is no string, or the outputs are no paths.
            ValueError: It is not one of the items; or an output has an impossible name, or holds the marks.
            FileNotFoundError: An output is not there.
            RuntimeError: An output was changed while it was recorded; the item is not marked.
            OSError: The operating system refuses.
        """
        self._mark(self._name_of(item), self._wish(outputs))

    def refuse_pending(self) -> None:
        """Raise if an item is not done, because its step is to be marked.

        Raises:
            RuntimeError: One is not.
        """
        left = [name for name in self._items or () if name not in self._marked]
        if not left:
            return
        self._marks.refresh()  # another process may have marked it
        pending = [name for name in left if not self._is_right(self._marks.look(name))]
        if pending:
            raise RuntimeError(
                f"name={self._step!r} cannot be marked: {len(pending)} of its {len(self._items or ())} items "
                f"are not done, such as {shown(pending[0])}"
            )

    def _pending(self, items: dict[str, _T]) -> Iterator[_T]:
        known = () if self._claims else self._marks.known
        is_settled = False
        for name, item in items.items():
            if name in known:
                self._marked.add(name)
                continue
            seen = self._marks.look(name)
            if self._is_right(seen) and not altered(seen, self._run.directory, self._verify):
                self._marks.settle(name)
                self._marked.add(name)
                continue
            is_settled = self._forget(name, seen, is_settled=is_settled)
            yield item

    def _is_right(self, seen: Seen) -> bool:
        """Return whether a mark says what this step declares now."""
        said = {field: value for field, value in seen.claims.items() if field != "outputs"}
        return not seen.doubt and said == self._claims

    def _forget(self, name: str, seen: Seen, *, is_settled: bool = False) -> bool:
        """See to it that no mark stands while an item is done: half-done, it would be believed.

        A run that forgot some may have been killed before that was on the disk. To bring it there once is
        enough; return whether it was done.
        """
        if seen is not UNMARKED:
            self._marks.check(name)
            self._marks.forget(name)
        elif not is_settled:
            with suppress(FileNotFoundError):  # where no item was ever marked
                self._marks.settle(name)
            is_settled = True
        self._unmarked.add(name)
        self._marked.discard(name)
        return is_settled

    def _name_of(self, item: _T) -> str:
        name = checked_name("item" if self._key is None else f"key({shown(item)})", item, self._key)
        if self._items is not None and name not in self._items:
            raise ValueError(f"item={shown(item)} is none of the items of step {self._step!r}")
        return name

    def _wish(self, outputs: Paths | None) -> Wish:
        """Return what is declared of outputs; a body may change the working directory."""
        wish = wished(None, outputs, None, None)
        if wish.outputs is None:
            return wish
        if self._run.store == "sqlite":
            refuse_nesting("outputs", wish.outputs, self._run.directory)
        return wish._replace(outputs=[whole(path) for path in wish.outputs])

    def _mark(self, name: str, wish: Wish) -> None:
        self._marks.check(name)
        is_inside = warn_of_nesting(wish.outputs, self._run.directory)
        before = states_before(wish, {})
        claims = recorded(wish, os.path.dirname(self._run.directory), before) if before else {}
        self._unmarked.discard(name)
        self._marks.put(name, {**claims, **self._claims})
        try:  # what was changed before the mark was written would not be read again
            refuse_changed({} if is_inside else before)
        except RuntimeError:
            self._marks.forget(name)
            raise
        self._marked.add(name)


def named_items(items: Iterable[_T], key: Callable[[_T], str] | None) -> dict[str, _T]:
    """Return items by their names, in order.

    Raises:
        TypeError: A name is no string.
        ValueError: Two have one name.
    """
    named: dict[str, _T] = {}
    for position, item in enumerate(items):
        where = f"items[{position}]" if key is None else f"key(items[{position}])"
        name = checked_name(where, item, key)
        if name in named:
            first = list(named).index(name)
            raise ValueError(f"items[{position}] has the name of items[{first}]: {shown(name)}")
        named[name] = item
    return named


def checked_name(where: str, item: _T, key: Callable[[_T], str] | None) -> str:
    """Return an item's name.

    Raises:
        TypeError: It is no string.
    """
    name: Any = key(item) if key else item
    return name if type(name) is str else checked_string(where, name)
