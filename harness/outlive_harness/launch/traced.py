"""A run in which every Python leaves where it is: see _stack_slots.py for what it leaves.

Whatever starts an interpreter, a shell, make or a pool of processes, it finds ``_traced/sitecustomize.py``
by PYTHONPATH. One that is told to look at no such variable is not followed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from .zygote import parse

_FIRST = str(Path(__file__).with_name("_traced"))
#: Options by which an interpreter would not find it: -E, -I and -S of python(1).
_DEAF = frozenset("EIS")


def environment(given: Mapping[str, str], place: str) -> dict[str, str]:
    """Return the environment of a run whose interpreters leave where they are in a file that is there."""
    path = os.pathsep.join(filter(None, (_FIRST, given.get("PYTHONPATH"))))
    return {**given, "PYTHONPATH": path, "OUTLIVE_STACKS": place}


def command(argv: Sequence[str]) -> list[str]:
    """Return a command line whose own interpreter is followed, too, if it is one."""
    script = parse(argv)
    if script is None:
        return list(argv)
    start = [word if word[:1] != "-" or word[:2] in ("-W", "-X") else _heard(word) for word in script.start]
    return [*filter(None, start), *argv[len(script.start) :]]


def _heard(word: str) -> str:
    """Leave out options of an interpreter."""
    letters = "".join(letter for letter in word[1:] if letter not in _DEAF)
    return f"-{letters}" if letters else ""
