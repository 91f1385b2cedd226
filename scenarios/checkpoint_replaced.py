"""A checkpoint that is replaced in one step is there at every crash once it was acknowledged."""

from pathlib import Path

from outlive import atomic_write
from outlive_harness import ack, scenario

CHECKPOINT = Path("checkpoint")


def is_there(acks: list[str]) -> None:
    done = int(CHECKPOINT.read_text()) if CHECKPOINT.exists() else 0
    assert all(done >= int(number) for number in acks), f"checkpoint {done} after {acks}"


@scenario(outputs="checkpoint", crash_check=is_there, faults=("kill", "torn", "power"))
def checkpoint_replaced() -> None:
    done = int(CHECKPOINT.read_text()) if CHECKPOINT.exists() else 0
    for number in range(done + 1, 4):
        atomic_write(CHECKPOINT, str(number))
        ack(number)
