"""A temporary file with a fixed name, made only if it is not there yet, stops every run after a crash."""

from pathlib import Path

from outlive_harness import scenario


@scenario(outputs="report.csv", expect="recovery-failed")
def exclusive_temporary() -> None:
    temporary = Path("report.csv.tmp")
    with temporary.open("x") as file:  # "w" would start over what is left of the last run
        file.write("a,b\n" * 1000)
    temporary.replace("report.csv")
