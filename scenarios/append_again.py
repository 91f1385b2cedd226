"""A step that appends to what a killed run has left writes its first rows twice."""

from pathlib import Path

from outlive import mark_done, step_done
from outlive_harness import scenario


@scenario(outputs="rows.csv", append_only="rows.csv", expect="diverged")
def append_again() -> None:
    if step_done("rows"):
        return
    with Path("rows.csv").open("a", buffering=1) as rows:  # line by line
        for number in range(5):
            print(number, number**2, sep=",", file=rows)
    mark_done("rows")
