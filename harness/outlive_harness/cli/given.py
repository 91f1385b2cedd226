"""The words of a command, written as Python."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

from outlive_harness.results.run_spec import BOX, absolute

from .template import python_string


class Word(NamedTuple):
    """One argument: its value now, and the Python expression for it in a scenario file."""

    value: str
    code: str


def as_written(words: list[str], root: Path) -> list[Word]:
    """Return a command's words; those that name files of the user are written relative to *root*.

    A scenario's command with ``{box}`` in it runs in the directory of the scenario file: a shell changes to
    *root* first.
    """
    made = [_word(word, root) for word in words[1:]]
    if words[0] in ("python", "python3"):
        made.insert(0, Word(sys.executable, "sys.executable"))
    else:
        made.insert(0, _word(words[0], root) if os.sep in words[0] else _plain(words[0]))
    if any(BOX in word for word in words):
        start = [_plain("sh"), _plain("-c"), _plain('cd "$0" && exec "$@"'), Word(str(root), "str(ROOT)")]
        made = start + made
    return made


def _plain(text: str) -> Word:
    return Word(text, python_string(text))


def _word(text: str, root: Path) -> Word:
    fixed = text if BOX in text else absolute(["", text], root)[1]
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
