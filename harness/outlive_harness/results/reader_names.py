"""How the value of an output is read: the names of the readers, and the text that chooses one.

``gzip+json:-generated_at,-run.id`` unpacks with gzip, reads JSON, and leaves out the keys ``generated_at`` at
any depth and ``id`` inside ``run``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from .globs import matcher, names

#: The built-in readers. What each returns is said in ``outlive_harness.readers``.
READERS = (
    "bytes", "text", "csv", "json", "yaml", "gzip", "zip", "tar", "xlsx", "sqlite", "parquet", "arrow", "npy",
)  # fmt: skip
#: Readers that unpack one file for the next reader of a chain.
UNPACKING = ("gzip",)
#: Readers of which keys or columns can be left out.
WITH_KEYS = ("csv", "json", "yaml", "xlsx", "sqlite", "parquet", "arrow")
#: Readers that take a directory as one output, as functions do.
OF_DIRECTORIES = ("parquet", "arrow")
#: The reader of databases: what an open one shows is never its bytes.
DATABASE = "sqlite"
#: The ends of the names of a database's journals, which belong to it.
JOURNALS = ("-journal", "-wal")
#: Stands before the position of a function among a scenario's readers.
FUNCTION = "@"


class Step(NamedTuple):
    """One reader of a chain.

    Attributes:
        name: the reader.
        left_out: keys or columns that are left out of its value.
    """

    name: str
    left_out: tuple[str, ...] = ()


def steps_of(text: str) -> tuple[Step, ...]:
    """Return the readers that a text names, one after the other.

    Raises:
        ValueError: there is no such reader, or its options make no sense; the message says what to write.
    """
    first, plus, rest = text.partition("+")
    if plus and first in UNPACKING:
        return (Step(first), *steps_of(rest))
    name, colon, options = text.partition(":")
    if name not in READERS:
        if plus and first in READERS:
            raise ValueError(f"only {' or '.join(UNPACKING)} can stand before a +, not {first}")
        raise ValueError(f"there is no reader {name!r}; there are: {', '.join(READERS)}")
    if not colon:
        return (Step(name),)
    if name not in WITH_KEYS:
        raise ValueError(f"the reader {name} has no keys to leave out; these have: {', '.join(WITH_KEYS)}")
    several = [part.strip() for part in options.split(",")]
    if not all(len(part) > 1 and part.startswith("-") for part in several):
        raise ValueError(f"write {name}:-KEY to leave out a key or a column, {name}:-KEY,-KEY for several")
    return (Step(name, tuple(part[1:] for part in several)),)


def split(text: str) -> tuple[str, str]:
    """Return the two sides of ``GLOB=READER``; a glob may contain an equals sign.

    Raises:
        ValueError: there is no reader in it.
    """
    at = text.rfind("=")
    error = ValueError("write GLOB=READER, as 'out/*.json=json'")
    while at > 0:
        try:
            steps_of(text[at + 1 :])
        except ValueError as one:
            error = one if text[at + 1 :].isalnum() or ":" in text[at + 1 :] else error
            at = text.rfind("=", 0, at)
        else:
            return text[:at], text[at + 1 :]
    raise error


def is_one_output(pairs: tuple[tuple[str, str], ...], path: str) -> bool:
    """Return whether a reader takes the directory at a path as one output.

    Its pattern matches the directory itself, and does not end with ``**``, which stands for the files in it.
    """
    return any(
        not glob.endswith("**")
        and (reader.partition(":")[0] in OF_DIRECTORIES or reader.startswith(FUNCTION))
        for glob, reader in pairs
        if names(glob, path)
    )


@lru_cache(maxsize=256)
def choice(pairs: tuple[tuple[str, str], ...]) -> Callable[[str], str]:
    """Return a function from a path to its reader: that of the first pattern that matches; "" for none."""
    several = [(matcher([glob]), reader) for glob, reader in pairs]

    @lru_cache(maxsize=1 << 16)
    def reader_of(path: str) -> str:
        return next((reader for matches, reader in several if matches(path)), "")

    return reader_of
