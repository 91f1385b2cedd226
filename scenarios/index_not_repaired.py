"""An index that may be partial at a crash must still be right in the end: here half a record stays in it."""

from pathlib import Path

from outlive_harness import scenario

INDEX = Path("index.bin")
RECORDS = [number.to_bytes(4, "big") for number in range(3)]


@scenario(outputs="index.bin", settled="index.bin", faults="torn", torn="bytes", expect="diverged")
def index_not_repaired() -> None:
    with INDEX.open("ab", buffering=0) as index:
        done = index.tell() // 4
        for record in RECORDS[done:]:
            index.write(record)
