"""A file that may be made only once is there whole after any fault, or can still be made."""

from contextlib import suppress

from outlive import atomic_write, remove_orphans
from outlive_harness import ack, scenario


@scenario(
    outputs="claim.txt", litter="fail", faults=("kill", "torn", "full", "eio", "term", "power"), torn="bytes"
)
def library_no_clobber() -> None:
    remove_orphans(".")  # a write that is refused removes nothing
    with suppress(FileExistsError):
        atomic_write("claim.txt", "ours\n", overwrite=False)
    ack("ours")
