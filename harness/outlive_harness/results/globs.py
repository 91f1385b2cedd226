"""Path patterns: ``*`` and ``?`` stay within one name, ``**`` crosses directories.

As in a shell, a wildcard at the beginning of a name matches no hidden name (glob(7)); ``**`` does.

A pattern that ends in a whole name, or in a slash, means all below it where that is a directory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache

#: What is added to a pattern that means all below a directory, too.
_BELOW = r"(?:/.*)?"


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    text = pattern.removeprefix("./").rstrip("/")
    out = ""
    i = 0
    while i < len(text):
        if text[i] in "*?[" and text[i : i + 2] != "**" and text[:i].rpartition("/")[2] == "":
            out += r"(?!\.)"
        if text.startswith("**/", i):
            out, i = out + r"(?:[^/]+/)*", i + 3
        elif text.startswith("**", i):
            out, i = out + r".*", i + 2
        elif text[i] in "*?":
            out, i = out + ("[^/]*" if text[i] == "*" else "[^/]"), i + 1
        elif text[i] == "[" and "]" in text[i + 2 :]:
            end = text.index("]", i + 2)
            inner = text[i + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            out, i = out + f"[{'^' + inner[1:] if inner[0] == '!' else inner}]", end + 1
        else:
            out, i = out + re.escape(text[i]), i + 1
    takes_all = pattern.endswith("/") or _is_name(text.rpartition("/")[2])
    return re.compile(out + _BELOW if takes_all else out, re.DOTALL)


def _is_name(text: str) -> bool:
    """Return whether the last part of a pattern is one whole name, which may be that of a directory."""
    return not set("*?[") & set(text)


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Return a test of whether a path, relative to the box, matches any of the patterns.

    A pattern that ends in a whole name, or in a slash, means all below it where that is a directory.
    """
    compiled = [_compiled(pattern) for pattern in patterns]
    return lambda path: any(pattern.fullmatch(path) for pattern in compiled)


@lru_cache(maxsize=1024)
def _itself(pattern: str) -> re.Pattern[str]:
    found = _compiled(pattern).pattern
    return re.compile(found.removesuffix(_BELOW), re.DOTALL)


def names(pattern: str, path: str) -> bool:
    """Return whether a pattern matches a path itself, and not only as one below what it names."""
    return _itself(pattern).fullmatch(path) is not None


def common_ends(one: str, other: str) -> tuple[str, str]:
    """Return the common beginning and end of two names, without characters of a random part."""
    prefix = one[: _alike(one, other)]
    suffix = one[len(one) - _alike(one[::-1], other[::-1]) :]
    return re.sub(r"[A-Za-z0-9_]*$", "", prefix), re.sub(r"^[A-Za-z0-9_]*", "", suffix)


def _alike(one: str, other: str) -> int:
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
