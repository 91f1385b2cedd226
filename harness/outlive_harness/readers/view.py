"""What is left out of values, so that two of them can be compared: masks, the box's path, foreign types."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import os
import re
import uuid
from typing import Any

from .kinds import Members, ReadError, Table, Tables, Text
from .texts import Unended

#: Stands for what a mask leaves out, and for the path of a box.
MASKED, BOX = "…", "{box}"
#: Types whose text says all.
_PLAIN = (dt.date, dt.time, dt.timedelta, dt.tzinfo, decimal.Decimal, uuid.UUID, complex, range, os.PathLike)


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """What is left out of values: the texts that match a mask, and where the box is.

    Attributes:
        masks: regular expressions.
        boxes: a regular expression that matches the path of any box; "" for none.
    """

    masks: tuple[str, ...] = ()
    boxes: str = ""

    def of(self, value: Any) -> Any:  # noqa: ANN401 - any value of a reader
        """Return a value of which only plain types, tables and members are left.

        Raises:
            ReadError: it cannot be compared.
        """
        if (
            isinstance(value, (str, bytes, bytearray, memoryview, bool, int, float, enum.Enum))
            or value is None
        ):
            return self._of_one(value)
        if isinstance(value, Table):
            rows = [[self.of(cell) for cell in row] for row in value.rows]
            return dataclasses.replace(value, rows=rows, facts=self.of(value.facts))
        if isinstance(value, dict):
            kind = type(value) if type(value) in (Members, Tables) else dict
            return kind({self.of(key): self.of(one) for key, one in value.items()})
        if isinstance(value, (list, tuple)):
            return [self.of(one) for one in value]
        if isinstance(value, (set, frozenset)):
            return sorted((self.of(one) for one in value), key=repr)
        return self._of_foreign(value)

    def text(self, text: str) -> str:
        """Return a text without what a mask matches, in which any box is ``{box}``."""
        text = re.sub(self.boxes, BOX, text) if self.boxes else text
        for mask in self.masks:
            text = re.sub(mask, MASKED, text, flags=re.MULTILINE)
        return text

    def _of_one(self, value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, enum.Enum):
            return str(value)
        if isinstance(value, str):
            kind = type(value) if type(value) in (Text, Unended) else str
            return kind(self.text(value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            return self._content(bytes(value))
        if self.masks and isinstance(value, (int, float)):
            masked = self.text(repr(value))
            return value if masked == repr(value) else masked
        return value

    def _content(self, content: bytes) -> bytes:
        """Return bytes in which any box is ``{box}``; masks apply to what is text."""
        content = re.sub(os.fsencode(self.boxes), BOX.encode(), content) if self.boxes else content
        try:
            return self.text(content.decode()).encode() if self.masks else content
        except UnicodeDecodeError:
            return content

    def _of_foreign(self, value: Any) -> Any:  # noqa: ANN401
        """Return the plain value of a dataclass, or of a type of a known library; else the repr."""
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {item.name: self.of(getattr(value, item.name)) for item in dataclasses.fields(value)}
            return {type(value).__name__: fields}
        library = type(value).__module__.partition(".")[0]
        if hasattr(value, "columns") or hasattr(value, "column_names"):
            if library in _FRAMES:
                return self.of(_FRAMES[library](value))
        elif library == "numpy" and hasattr(value, "tolist"):
            if not getattr(value, "ndim", 0):
                return self.of(value.tolist())
            return {"dtype": str(value.dtype), "shape": list(value.shape), "items": self.of(value.tolist())}
        if isinstance(value, _PLAIN):
            return self.text(f"{type(value).__name__} {value}")
        kind: Any = type(value)
        if kind.__repr__ is not object.__repr__:
            return self.text(repr(value))
        raise ReadError(
            f"the reader returned {type(value).__name__}, which cannot be compared: return plain types, "
            "a table, or something with a repr of its own"
        )


def _of_pandas(frame: Any) -> Table:  # noqa: ANN401
    columns = ["(index)", *map(str, frame.columns)]
    return Table(columns, ["", *map(str, frame.dtypes)], [list(row) for row in frame.itertuples()])


def _of_polars(frame: Any) -> Table:  # noqa: ANN401
    return Table(list(frame.columns), list(map(str, frame.dtypes)), frame.rows())


def of_arrow(table: Any) -> Table:  # noqa: ANN401
    """Return a table of pyarrow."""
    columns = [table.column(at).to_pylist() for at in range(table.num_columns)]
    types = [str(field.type) for field in table.schema]
    return Table(list(table.column_names), types, list(zip(*columns, strict=True)))


#: By library, how a table of it becomes ours.
_FRAMES = {"pandas": _of_pandas, "polars": _of_polars, "pyarrow": of_arrow}
