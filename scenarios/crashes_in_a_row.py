"""Kills and power cuts, two in a row and in any order, leave readers the old report or the new one."""

from pathlib import Path

from outlive import atomic_write
from outlive_harness import scenario


def old_report() -> None:
    Path("report.csv").write_text("a,b\n")


@scenario(outputs="report.csv", setup=old_report, faults=("kill", "power"), depth=2)
def crashes_in_a_row() -> None:
    atomic_write("report.csv", "a,b\n" * 1000)
