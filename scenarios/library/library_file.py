"""A file written whole, and a new one in new directories, hold under every fault and leave nothing."""

from pathlib import Path

from outlive import atomic_open, atomic_write
from outlive_harness import ack, scenario


def last_week() -> None:
    Path("report.csv").write_text("last week's\n")
    Path("summary.csv").write_text("last week's\n")


@scenario(
    outputs=("*.csv", "out/**"),
    setup=last_week,
    litter="fail",
    faults=("kill", "torn", "full", "eio", "term", "power"),
    torn="bytes",
)
def library_file() -> None:
    with atomic_open("report.csv") as report:
        report.write("this ")
        report.flush()
        report.write("week's\n")
    atomic_write("summary.csv", "this week's\n")
    atomic_write("new.csv", "this week's\n")
    atomic_write("out/2026/total.csv", "41\n", parents=True)
    ack("41")
