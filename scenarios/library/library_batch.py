"""Files of a batch are each old or new, and all are on the disk before anything is said of them."""

from outlive import atomic_batch
from outlive_harness import ack, scenario

NAMES = ("ash", "beech", "cedar")


@scenario(
    outputs="out/*", litter="fail", faults=("kill", "torn", "full", "eio", "term", "power"), torn="bytes"
)
def library_batch() -> None:
    with atomic_batch(parents=True) as batch:
        for name in NAMES:
            batch.write(f"out/{name}.txt", f"{name}\n")
    for name in NAMES:
        ack(name)
