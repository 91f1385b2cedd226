"""Arguments that are refused before anything is done; each message begins with the argument and its value."""

from __future__ import annotations

import os

_LONGEST_SHOWN = 80  # characters
_MOST_SECONDS = 1e9


def shown(value: object) -> str:
    """Return the start of a value's repr, for a message."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def checked_path(argument: str, value: object) -> str:
    """Return a path as a string.

    Raises:
        TypeError: The value is not a path.
        ValueError: The path is empty, or no file system can hold it.
    """
    path = value if isinstance(value, str) else os.fspath(value) if isinstance(value, os.PathLike) else None
    if not isinstance(path, str):
        raise TypeError(f"{argument}={shown(value)} is not a path; give a str or a pathlib.Path")
    if not path:
        raise ValueError(f"{argument}={path!r} is empty; give a path")
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        raise ValueError(f"{argument}={path!r} cannot be encoded as the name of a file") from error
    if "\0" in path:
        raise ValueError(f"{argument}={path!r} contains a NUL, which the name of a file cannot contain")
    return path


def checked_string(argument: str, value: object) -> str:
    """Return a string as a plain `str`: an f-string shows a member of a `str` enumeration in another form.

    Raises:
        TypeError: The value is not a string.
    """
    if not isinstance(value, str):
        raise TypeError(f"{argument}={shown(value)} is not a string")
    return str.__str__(value)


def check_seconds(argument: str, value: object) -> None:
    """Refuse a value that is neither None nor a number of seconds.

    Raises:
        TypeError: The value is not a number.
        ValueError: The number is negative, not finite, or over a billion.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{argument}={shown(value)} is not a number of seconds")
    if not 0 <= value < _MOST_SECONDS:
        raise ValueError(
            f"{argument}={shown(value)} is not a number of seconds from 0 to {_MOST_SECONDS:.0e}"
        )
