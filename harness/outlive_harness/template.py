"""The scenario that ``outlive new`` writes."""

from __future__ import annotations

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
