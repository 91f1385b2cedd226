"""A report written in place can be seen half-written."""

from pathlib import Path

from outlive_harness import scenario


@scenario(outputs="out/*", expect="torn-output")
def report_in_place() -> None:
    Path("out").mkdir(exist_ok=True)
    Path("out/report.csv").write_text("a,b\n" * 10_000)
