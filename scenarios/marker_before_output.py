"""A step that is marked before its output is in place is skipped after a crash, and its output is missing."""

from outlive import atomic_write, mark_done, step_done
from outlive_harness import scenario


@scenario(outputs="report.csv", expect="diverged")
def marker_before_output() -> None:
    if step_done("report"):
        return
    mark_done("report")  # one line too early
    atomic_write("report.csv", "a,b\n" * 1000)
