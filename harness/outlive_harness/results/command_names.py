"""Names for commands, in reports and replay ids."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path


def name_of(command: Sequence[str], cwd: str | None = None) -> str:
    """Return a name for a command, which needs no quotes: that of its script, or of its program.

    Files are looked for in *cwd*, if it is given, and in the working directory.
    """
    places = [place for place in (cwd, os.curdir) if place]
    options_apart = [part for part in command[1:] if not part.startswith("-")]
    scripts = [
        part for part in options_apart if any(os.path.isfile(os.path.join(place, part)) for place in places)
    ]
    stem = Path(scripts[0] if scripts and not _is_script(command[0]) else command[0]).stem
    return re.sub(r"[^A-Za-z0-9_.-]", "_", stem).strip("-.") or "command"


def _is_script(program: str) -> bool:
    """Return whether a program is a script that is run by its path, and not an interpreter."""
    if os.sep not in program:
        return False
    try:
        with open(program, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False
