"""Marks in one SQLite file: the names of one run's steps, or of one step's items, are read once and kept."""

from __future__ import annotations

import time
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from .sqlite_file import Database, Mark
from .store import FILES, PLAIN, UNMARKED, StoredMark

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager


class SqliteMarks:
    """The marks of one run's steps, or of one step's items, in the file."""

    def __init__(
        self, directory: str, run_id: str, *, step: str | None = None, database: Database | None = None
    ) -> None:
        self._run = encoded(run_id)
        self._part = b"" if step is None else b"/" + encoded(step)
        self._directory, self._run_id = directory, run_id
        self._database = database or Database(directory)
        self.known: set[str] = set()
        self._recorded: dict[str, tuple[int, str]] = {}  # of all others: the time of marking in ns, and JSON
        self._is_read = False

    def look(self, name: str) -> StoredMark:
        if self._database.is_held(self._run, self._part, encoded(name)):
            self._database.write_out()
        with self._database.alone():
            self._read()
            if name in self.known:
                return PLAIN
            if name not in self._recorded:
                return UNMARKED
            written_at, text = self._recorded[name]
        record = _record(text)
        return StoredMark("its mark is damaged", {}) if record is None else StoredMark("", record, written_at)

    def refresh(self) -> None:
        self._read(anew=True)

    def settle(self, name: str) -> None:
        """Do nothing: what was read was brought to the disk."""

    def check(self, name: str) -> None:
        """Do nothing: any name can be marked."""

    def put(self, name: str, record: Mapping[str, Any]) -> None:
        import json  # noqa: PLC0415 - only for marks that vouch for something

        text = json.dumps(record) if record else None  # as ASCII: a lone surrogate is not UTF-8
        marked_at = self._database.touch() if record.keys() & set(FILES) else time.time_ns()
        self._read()
        learn = partial(self._learn, name, marked_at, text)
        self._database.put(Mark(self._run, self._part, encoded(name), marked_at, text, learn))

    def group(self, most: int) -> AbstractContextManager[None]:
        return self._database.group(most)

    def _learn(self, name: str, marked_at: int, record: str | None) -> None:
        """Note what is in the file now."""
        if record is None:
            self.known.add(name)
            self._recorded.pop(name, None)
        else:
            self.known.discard(name)
            self._recorded[name] = (marked_at, record)

    def names(self) -> list[str]:
        with self._database.alone():
            self._database.write_out()
            self._read(anew=True)
            readable = {name for name, (_, text) in self._recorded.items() if _record(text) is not None}
            return sorted(self.known | readable)

    def forget(self, name: str | None) -> None:
        with self._database.alone():
            if name is None:
                self._database.delete("DELETE FROM marks WHERE run = ?", [(self._run,)])
                self._read(anew=True)
                return
            if self._part:
                self._forget_alike(name)
                return
            query = "DELETE FROM marks WHERE run = ? AND (part = ? AND name = ? OR part = ?)"
            self._database.delete(query, [(self._run, self._part, encoded(name), b"/" + encoded(name))])
            self.known.discard(name)
            self._recorded.pop(name, None)

    def _forget_alike(self, item: str) -> None:
        """Forget an item and, in a group, others with the same record, as many as the group holds back.

        Forgetting each by itself would take a commit, which takes longer than marking them all.
        """
        text = self._recorded[item][1] if item in self._recorded else None
        alike = (one for one, (_, said) in self._recorded.items() if said == text)
        others = (one for one in (self.known if text is None else alike) if one != item)
        names = [item, *islice(others, self._database.most() - 1)]
        # Not those that another thread has marked anew meanwhile.
        query = "DELETE FROM marks WHERE run = ? AND part = ? AND name = ? AND claims IS ?"
        self._database.delete(query, [(self._run, self._part, encoded(one), text) for one in names])
        self.known.difference_update(names)
        for one in names:
            self._recorded.pop(one, None)

    def items(self, name: str) -> SqliteMarks:
        return SqliteMarks(self._directory, self._run_id, step=name, database=self._database)

    def runs(self) -> list[str]:
        self._database.write_out()
        return sorted(decoded(run) for (run,) in self._database.rows("SELECT DISTINCT run FROM marks", ()))

    def records(self) -> Iterator[dict[str, Any]]:
        self._database.write_out()
        query = "SELECT part, name, marked_at, claims FROM marks WHERE run = ? ORDER BY part, name"
        for part, name, marked_at, text in self._database.rows(query, (self._run,)):
            described: dict[str, Any] = {"run_id": self._run_id, "step": decoded(part[1:] if part else name)}
            if part:
                described["item"] = decoded(name)
            record = {} if text is None else _record(text)
            if record is None:
                yield {**described, "file": self._database.path, "doubt": "damaged"}
            else:
                yield {**described, **record, "marked_at": marked_at}

    def _read(self, *, anew: bool = False) -> None:
        with self._database.alone():  # or a mark that another thread makes in between would be lost
            if self._is_read and not anew:
                return
            query = "SELECT name, marked_at, claims FROM marks WHERE run = ? AND part = ?"
            rows = self._database.rows(query, (self._run, self._part))
            plain = {decoded(name) for name, _, text in rows if text is None}
            self._recorded = {decoded(name): (at, text) for name, at, text in rows if text is not None}
            # In two steps: other threads look without the lock, and must find what is marked at any time.
            self.known |= plain
            self.known &= plain
            self._is_read = True


def encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass")


def _record(text: str) -> dict[str, Any] | None:
    """Return what a mark vouches for; None if it is damaged."""
    import json  # noqa: PLC0415 - only for marks that vouch for something

    try:
        record = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
    is_whole = isinstance(record, dict) and all(isinstance(record.get(field, {}), dict) for field in FILES)
    return record if is_whole else None
