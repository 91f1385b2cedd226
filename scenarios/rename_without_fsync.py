"""A rename can reach the disk before the bytes do: after a power cut the report is there, and empty."""

from pathlib import Path

from outlive_harness import scenario


@scenario(outputs="report.csv", faults="power", expect=("torn-output", "diverged"))
def rename_without_fsync() -> None:
    report, part = Path("report.csv"), Path(".report.part")
    if not report.exists():  # if it is there it is whole, as long as only processes die
        part.write_text("a,b\n" * 2000)
        part.replace(report)
