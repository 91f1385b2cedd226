"""A library that opens files itself gets a path, and may rename onto it: the result is whole."""

from pathlib import Path

from outlive import atomic_path
from outlive_harness import ack, scenario


@scenario(
    outputs="table.parquet",
    litter="fail",
    faults=("kill", "torn", "full", "eio", "term", "power"),
    torn="bytes",
)
def library_path() -> None:
    with atomic_path("table.parquet") as path:
        part = Path(f"{path}.part")  # as some libraries do
        part.write_text("PAR1\n")
        part.replace(path)
    ack("PAR1")
