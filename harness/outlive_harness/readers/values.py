"""Values of outputs: what makes two of them equal, and where they differ, in words for a person."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from .kinds import Members, Table, Tables, Text

#: How many characters of a value are shown.
_SHOWN = 100


def digest(value: Any) -> str:  # noqa: ANN401
    """Return the digest of a value that View.of() returned: equal values have equal digests."""
    running = hashlib.blake2b(digest_size=16)
    for part in _parts(value):
        running.update(part)
    return running.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:  # noqa: ANN401
    """Yield a value as bytes, each part with its type and length, so that no two values give the same."""
    if isinstance(value, Table):
        yield from _parts([list(value.columns), list(value.types), value.facts])
        rows = value.rows if value.has_order else sorted(value.rows, key=repr)
        yield b"table%d:" % len(rows)
        for row in rows:
            yield repr(row).encode(errors="surrogateescape")
    elif isinstance(value, dict):
        yield b"dict%d:" % len(value)
        for key in sorted(value, key=repr):
            yield from _parts(key)
            yield from _parts(value[key])
    elif isinstance(value, list):
        yield b"list%d:" % len(value)
        for one in value:
            yield from _parts(one)
    else:
        content = value if isinstance(value, bytes) else repr(value).encode(errors="surrogateescape")
        kind = b"bytes" if isinstance(value, bytes) else b"value"
        yield kind + b"%d:" % len(content) + content


class Difference(NamedTuple):
    """One place where two values differ.

    Attributes:
        where: the way to it, from the outside in, as words.
        golden: what the golden run has there, in words.
        here: what is there instead, in words.
        keys: the keys or columns on the way.
    """

    where: tuple[str, ...]
    golden: str
    here: str
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{', '.join(self.where) or 'the value'}: golden: {self.golden}, here: {self.here}"

    def inside(self, where: str, key: str = "") -> Difference:
        """Return the difference as seen from further outside."""
        return self._replace(where=(where, *self.where), keys=(key, *self.keys) if key else self.keys)


def differences(golden: Any, here: Any) -> Iterator[Difference]:  # noqa: ANN401
    """Yield where two values that View.of() returned differ."""
    if type(golden) is not type(here):
        if _is_equal(golden, here):
            return
        yield Difference((), _shown(golden), _shown(here))
    elif isinstance(golden, Table):
        yield from _of_tables(golden, here)
    elif isinstance(golden, dict):
        yield from _of_dicts(golden, here)
    elif isinstance(golden, list):
        yield from _of_lists(golden, here)
    elif isinstance(golden, bytes):
        yield from _of_bytes(golden, here)
    elif isinstance(golden, Text):
        yield from _of_lines(golden, here)
    elif not _is_equal(golden, here):
        yield Difference((), _shown(golden), _shown(here))


def _is_equal(one: Any, other: Any) -> bool:  # noqa: ANN401
    return repr(one) == repr(other)


def _of_dicts(golden: dict[Any, Any], here: dict[Any, Any]) -> Iterator[Difference]:
    what = "member" if isinstance(golden, Members) else "table" if isinstance(golden, Tables) else "key"
    for key in sorted(golden.keys() | here.keys(), key=repr):
        name = f"{what} {key!r}" if what == "key" else f"{what} {key}"
        inner = "" if what == "member" else str(key)
        if key not in here:
            yield Difference((name,), _shown(golden[key]), "absent", (inner,) if inner else ())
        elif key not in golden:
            yield Difference((name,), "absent", _shown(here[key]), (inner,) if inner else ())
        else:
            yield from (one.inside(name, inner) for one in differences(golden[key], here[key]))


def _of_lists(golden: list[Any], here: list[Any], what: str = "item") -> Iterator[Difference]:
    for number, (one, other) in enumerate(zip(golden, here, strict=False), start=1):
        yield from (found.inside(f"{what} {number}") for found in differences(one, other))
    if len(golden) != len(here):
        yield Difference((), f"{len(golden)} {what}s", f"{len(here)}")


def _of_lines(golden: str, here: str) -> Iterator[Difference]:
    yield from _of_lists(golden.splitlines(), here.splitlines(), "line")
    ends = golden.endswith("\n"), here.endswith("\n")
    if ends[0] != ends[1] and golden.splitlines() == here.splitlines():
        golden, here = ("ends with a newline" if one else "ends without one" for one in ends)
        yield Difference(("the last line",), golden, here)


def _of_bytes(golden: bytes, here: bytes) -> Iterator[Difference]:
    if golden == here:
        return
    try:
        texts = golden.decode(), here.decode()
    except UnicodeDecodeError:
        at = next((i for i, (a, b) in enumerate(zip(golden, here, strict=False)) if a != b), None)
        if at is None:
            yield Difference((), f"{len(golden)} bytes", f"{len(here)}")
        else:
            yield Difference((f"byte {at}",), golden[at : at + 16].hex(" "), here[at : at + 16].hex(" "))
    else:
        yield from _of_lines(*texts)


def _of_tables(golden: Table, here: Table) -> Iterator[Difference]:
    if list(golden.columns) != list(here.columns):
        yield Difference(("columns",), _shown(list(golden.columns)), _shown(list(here.columns)))
        return
    for name, one, other in zip(golden.columns, golden.types, here.types, strict=False):
        if one != other:
            yield Difference((f"column {name!r}",), f"type {one}", f"type {other}", (str(name),))
    yield from differences(golden.facts, here.facts)
    if golden.has_order:
        yield from _of_rows(golden, here)
        if len(golden.rows) != len(here.rows):
            yield Difference((), f"{len(golden.rows)} rows", f"{len(here.rows)}")
        return
    missing, more = _surplus(golden, here), _surplus(here, golden)
    if len(missing) == len(more):  # the same rows, in part with other cells
        yield from _of_rows(
            dataclasses.replace(golden, rows=missing), dataclasses.replace(here, rows=more), numbered=False
        )
        return
    yield Difference((), f"{len(golden.rows)} rows", f"{len(here.rows)}")
    for row in missing[:1]:
        yield Difference((f"row {_shown(row)}",), "there", "missing")
    for row in more[:1]:
        is_double = repr(row) in {repr(one) for one in golden.rows}
        yield Difference(
            (f"row {_shown(row)}",), "once" if is_double else "not there", "twice" if is_double else "there"
        )


def _surplus(table: Table, other: Table) -> list[Sequence[Any]]:
    """Return the rows of a table that another has not, or not so often, in a fixed order."""
    left = Counter(map(repr, other.rows))
    found = []
    for row in sorted(table.rows, key=repr):
        if left[repr(row)]:
            left[repr(row)] -= 1
        else:
            found.append(row)
    return found


def _of_rows(golden: Table, here: Table, *, numbered: bool = True) -> Iterator[Difference]:
    for number, (one, other) in enumerate(zip(golden.rows, here.rows, strict=False), start=1):
        where = f"row {number}" if numbered else f"row {_shown(one)}"
        for name, a, b in zip(golden.columns, one, other, strict=False):
            for found in differences(a, b):
                yield found.inside(f"column {name!r}", str(name)).inside(where)


def _shown(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, Table):
        return f"{len(value.rows)} rows"
    if isinstance(value, (Text, bytes)) and len(value) > _SHOWN:
        return f"{len(value)} {'bytes' if isinstance(value, bytes) else 'characters'}"
    text = repr(value) if not isinstance(value, Text) else repr(str(value))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
