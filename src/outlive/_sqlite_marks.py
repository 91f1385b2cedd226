"""Marks in one SQLite file: the names of one run's steps, or one step's items, are read once and kept."""

from __future__ import annotations

import time
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from ._claims import FILES
from ._sqlite_file import Database, Mark
from ._stores import PLAIN, UNMARKED, Seen

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
        self._claims: dict[str, tuple[int, str]] = {}  # when it was marked, in ns, and JSON, of all others
        self._is_read = False

    def look(self, name: str) -> Seen:
        if self._database.holds(self._run, self._part, encoded(name)):
            self._database.write_out()
        with self._database.alone():
            self._read()
            if name in self.known:
                return PLAIN
            if name not in self._claims:
                return UNMARKED
            since, text = self._claims[name]
        claims = _claims(text)
        return Seen("its mark is damaged", {}) if claims is None else Seen("", claims, since)

    def refresh(self) -> None:
        self._read(anew=True)

    def settle(self, name: str) -> None:
        """Do nothing: what was read was brought to the disk."""

    def check(self, name: str) -> None:
        """Do nothing: any name can be marked."""

    def put(self, name: str, claims: Mapping[str, Any]) -> None:
        import json  # noqa: PLC0415 - of use to those who declare something

        text = json.dumps(claims) if claims else None  # as ASCII: a lone surrogate is no UTF-8
        marked_at = self._database.touch() if claims.keys() & FILES else time.time_ns()
        self._read()
        learn = partial(self._learn, name, marked_at, text)
        self._database.put(Mark(self._run, self._part, encoded(name), marked_at, text, learn))

    def group(self, most: int) -> AbstractContextManager[None]:
        return self._database.group(most)

    def _learn(self, name: str, marked_at: int, claims: str | None) -> None:
        """Take note of what is in the file now."""
        if claims is None:
            self.known.add(name)
            self._claims.pop(name, None)
        else:
            self.known.discard(name)
            self._claims[name] = (marked_at, claims)

    def names(self) -> list[str]:
        with self._database.alone():
            self._database.write_out()
            self._read(anew=True)
            readable = {name for name, (_, text) in self._claims.items() if _claims(text) is not None}
            return sorted(self.known | readable)

    def forget(self, name: str | None) -> None:
        with self._database.alone():
            if name is None:
                self._database.delete("DELETE FROM marks WHERE run = ?", [(self._run,)])
                self._read(anew=True)
                return
            if self._part:
                self._forget_like(name)
                return
            query = "DELETE FROM marks WHERE run = ? AND (part = ? AND name = ? OR part = ?)"
            self._database.delete(query, [(self._run, self._part, encoded(name), b"/" + encoded(name))])
            self.known.discard(name)
            self._claims.pop(name, None)

    def _forget_like(self, item: str) -> None:
        """Forget an item and, in a group, others whose marks say the same, as many as that holds back.

        To forget each by itself would cost a commit, and so more than to mark them all.
        """
        text = self._claims[item][1] if item in self._claims else None
        like = (one for one, (_, said) in self._claims.items() if said == text)
        others = (one for one in (self.known if text is None else like) if one != item)
        names = [item, *islice(others, self._database.most() - 1)]
        # Not what another thread has marked anew meanwhile.
        query = "DELETE FROM marks WHERE run = ? AND part = ? AND name = ? AND claims IS ?"
        self._database.delete(query, [(self._run, self._part, encoded(one), text) for one in names])
        self.known.difference_update(names)
        for one in names:
            self._claims.pop(one, None)

    def items(self, name: str) -> SqliteMarks:
        return SqliteMarks(self._directory, self._run_id, step=name, database=self._database)

    def runs(self) -> list[str]:
        self._database.write_out()
        return sorted(decoded(run) for (run,) in self._database.rows("SELECT DISTINCT run FROM marks", ()))

    def records(self) -> Iterator[dict[str, Any]]:
        self._database.write_out()
        query = "SELECT part, name, marked_at, claims FROM marks WHERE run = ? ORDER BY part, name"
        for part, name, marked_at, text in self._database.rows(query, (self._run,)):
            record: dict[str, Any] = {"run_id": self._run_id, "step": decoded(part[1:] or name)}
            if part:
                record = {"run_id": self._run_id, "step": decoded(part[1:]), "item": decoded(name)}
            claims = {} if text is None else _claims(text)
            if claims is None:
                yield {**record, "file": self._database.path, "doubt": "damaged"}
            else:
                yield {**record, **claims, "marked_at": marked_at}

    def _read(self, *, anew: bool = False) -> None:
        with self._database.alone():  # or another thread's mark would be lost that is made in between
            if self._is_read and not anew:
                return
            query = "SELECT name, marked_at, claims FROM marks WHERE run = ? AND part = ?"
            rows = self._database.rows(query, (self._run, self._part))
            plain = {decoded(name) for name, _, text in rows if text is None}
            self._claims = {decoded(name): (at, text) for name, at, text in rows if text is not None}
            # Others ask without the lock, so that what is marked is in there all the time.
            self.known |= plain
            self.known &= plain
            self._is_read = True


def encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass")


def _claims(text: str) -> dict[str, Any] | None:
    """Return what a mark vouches for; None if it is damaged."""
    import json  # noqa: PLC0415 - of use to those who declare something

    try:
        claims = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return None
    is_whole = isinstance(claims, dict) and all(isinstance(claims.get(field, {}), dict) for field in FILES)
    return claims if is_whole else None
