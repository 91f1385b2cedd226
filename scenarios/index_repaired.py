"""An index that is kept open may end in half a record at a crash, as its program cuts that off first."""

from pathlib import Path

from outlive_harness import scenario

INDEX = Path("index.bin")
RECORDS = [number.to_bytes(4, "big") for number in range(3)]


@scenario(outputs="index.bin", settled="index.bin", faults=("kill", "torn"), torn="bytes")
def index_repaired() -> None:
    with INDEX.open("ab", buffering=0) as index:
        done = index.tell() // 4
        index.truncate(done * 4)
        for record in RECORDS[done:]:
            index.write(record)
