"""The types of values that say more than Python's own about what a difference means to a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


class ReadError(Exception):
    """What is at a path cannot be read as what it should be; the message says what is wrong with it."""


class Absent:
    """The value where there is nothing for a reader to see, such as a database without tables."""


class Text(str):
    """A text of lines."""

    __slots__ = ()


class Members(dict[str, Any]):
    """The members of an archive, by name."""


@dataclass(slots=True)
class Table:
    """Rows under columns.

    Attributes:
        columns: the names of the columns.
        types: the type of each column in words; empty if the format has none.
        rows: the rows, in order.
        has_order: whether the order of the rows is part of the value.
        facts: what is known besides, such as constraints.
    """

    columns: Sequence[str]
    types: Sequence[str]
    rows: Sequence[Sequence[Any]]
    has_order: bool = True
    facts: dict[str, Any] = field(default_factory=dict)

    def without(self, left_out: Sequence[str], of: str = "") -> Table:
        """Return the table without some columns, which may be given as ``table.column``.

        Args:
            left_out: the columns.
            of: the table's name.
        """
        kept = [
            at
            for at, name in enumerate(self.columns)
            if name not in left_out and f"{of}.{name}" not in left_out
        ]
        if len(kept) == len(self.columns):
            return self
        types = [self.types[at] for at in kept] if self.types else ()
        rows = [[row[at] if at < len(row) else None for at in kept] for row in self.rows]
        return Table([self.columns[at] for at in kept], types, rows, self.has_order, self.facts)


class Tables(dict[str, Table]):
    """The tables of a database, or the sheets of a workbook, by name."""

    def are_empty(self) -> bool:
        """Return whether there is no row in any of them."""
        return not any(table.rows for table in self.values())
