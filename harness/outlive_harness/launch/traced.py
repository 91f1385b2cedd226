"""A run in which every Python interpreter records its stacks: see _stack_slots.py for the format.

Whatever starts an interpreter (a shell, make, a pool of processes), it finds ``_traced/sitecustomize.py``
through PYTHONPATH. An interpreter that ignores PYTHONPATH is not followed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from .zygote import parse

_FIRST = str(Path(__file__).with_name("_traced"))
#: Options of python(1) with which an interpreter would not find it.
_DEAF = frozenset("EIS")


def environment(given: Mapping[str, str], place: str) -> dict[str, str]:
    """Return the environment of a run whose interpreters record their stacks in an existing file."""
    path = os.pathsep.join(filter(None, (_FIRST, given.get("PYTHONPATH"))))
    return {**given, "PYTHONPATH": path, "OUTLIVE_STACKS": place}


def command(argv: Sequence[str]) -> list[str]:
    """Return a command line whose own interpreter, if it is one, is followed too."""
    script = parse(argv)
    if script is None:
        return list(argv)
    start = [word if word[:1] != "-" or word[:2] in ("-W", "-X") else _heard(word) for word in script.start]
    return [*filter(None, start), *argv[len(script.start) :]]


def _heard(word: str) -> str:
    """Return a word of options without those of _DEAF."""
    letters = "".join(letter for letter in word[1:] if letter not in _DEAF)
    return f"-{letters}" if letters else ""
