"""Runs one function of a scenario file as a program: the body, its setup, or its check.

``python -m outlive_harness._body FILE NAME {body,setup,check}``
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from .scenario import load_file

#: Tells the children that multiprocessing spawns which file their functions are in.
_FILE = "OUTLIVE_SCENARIO_FILE"


def main() -> None:
    """Find the scenario and call the function; a check prints its value for the judge."""
    file, name, role, home, *more = sys.argv[1:]
    sys.argv[:] = [file]
    os.environ[_FILE] = file
    sys.path.append(home)
    found = [one for one in load_file(file) if one.name == name]
    if not found:
        sys.exit(f"{file} has no scenario {name!r} any more")
    function = getattr(found[0], role)
    value = function(json.loads(Path(more[0]).read_text())) if more else function()
    if role == "check":
        sys.stdout.write(f"{value!r}\n")


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":  # a child of multiprocessing, not forked
    load_file(os.environ[_FILE])
