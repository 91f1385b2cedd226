"""The words of a command, written as Python."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from outlive_harness.results.run_spec import BOX, absolute
from outlive_harness.results.starters import Started, looked_through

from .template import python_string


class Word(NamedTuple):
    """One argument: its value now, and the Python expression for it in a scenario file."""

    value: str
    code: str


def started(words: Sequence[str], cwd: str | None, root: Path) -> Started:
    """Return what a command starts in the end; it runs in *cwd*, or in *root* if it names the box."""
    here = cwd or (str(root) if any(BOX in word for word in words) else None)
    found = looked_through(words, here=here)
    return found._replace(cwd=found.cwd or here)


def as_written(words: Sequence[str], root: Path, cwd: str | None = None) -> list[Word]:
    """Return a command's words; those that name files of the user are written relative to *root*.

    A word that names a file in *cwd*, where the command runs, stays as it is.
    """
    made = [_word(word, root, cwd) for word in words[1:]]
    if words[0] in ("python", "python3"):
        made.insert(0, Word(sys.executable, "sys.executable"))
    else:
        made.insert(0, _word(words[0], root, cwd) if os.sep in words[0] else _plain(words[0]))
    return made


def directory_code(place: str, root: Path) -> str:
    """Return the Python expression for a directory in a scenario file."""
    if not Path(place).is_relative_to(root):
        return python_string(place)
    relative = os.path.relpath(place, root)
    return "ROOT" if relative == os.curdir else f"ROOT / {python_string(relative)}"


def _plain(text: str) -> Word:
    return Word(text, python_string(text))


def _word(text: str, root: Path, cwd: str | None) -> Word:
    fixed = text if BOX in text else absolute(["", text], root, cwd=cwd)[1]
    option, path = "", fixed
    if fixed != text and fixed.startswith("-"):
        option, _, path = fixed.partition("=")
        option += "="
    is_users = os.path.isabs(text) and Path(text).is_relative_to(root) and os.path.isfile(text)
    if fixed == text and not is_users:
        return _plain(text)
    relative = os.path.relpath(path, root)
    code = f"str(ROOT / {python_string(relative)})"
    code = f"{python_string(option)} + {code}" if option else code
    return Word(option + str(root / relative), code)


def identifier(stem: str) -> str:
    """Return a name for a variable and its file, made from the name of a script."""
    return re.sub(r"[^A-Za-z0-9_]", "_", stem).strip("_") or "command"
