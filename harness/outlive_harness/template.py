"""The scenario that ``outlive new`` writes."""

from __future__ import annotations

import keyword
import sys

_TEXT = '''"""Say in one sentence what this scenario shows."""

from pathlib import Path

from outlive import atomic_write, mark_done, step_done
from outlive_harness import scenario


@scenario(outputs="out/*")
def {name}() -> None:
    """The body is the pipeline: it runs as a process of its own, in an empty directory."""
    Path("out").mkdir(exist_ok=True)
    if not step_done("report"):
        atomic_write("out/report.csv", "day,total\\n" + "monday,1\\n" * 1000)
        mark_done("report")
'''


def scenario_text(name: str) -> str:
    """Return a scenario file that runs at once, and holds."""
    return _TEXT.format(name=name)


def objection(name: str) -> str:
    """Say why a scenario and its file cannot have this name; "" if they can."""
    if not name.isidentifier() or keyword.iskeyword(name):
        return "must be a Python identifier: letters, digits and underscores"
    if name.startswith(("_", "test_")) or name == "conftest":
        return "is the name of a helper: files that begin with _ or test_ are no scenarios"
    if name in sys.stdlib_module_names or name in ("outlive", "outlive_harness"):
        return "is the name of a module that pipelines import, and the file would stand in its way"
    if name in ("Path", "atomic_write", "mark_done", "step_done", "scenario"):
        return "is a name that the file itself imports"
    return ""
