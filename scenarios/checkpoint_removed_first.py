"""A checkpoint that is removed before the next one is in place is missing meanwhile, which recovery hides."""

from pathlib import Path

from outlive_harness import ack, scenario

CHECKPOINT, NEXT = Path("checkpoint"), Path("checkpoint.next")


def is_there(acks: list[str]) -> None:
    """Whoever looks after a crash finds the last checkpoint that was acknowledged, or a later one."""
    done = int(CHECKPOINT.read_text()) if CHECKPOINT.exists() else 0
    assert all(done >= int(number) for number in acks), f"checkpoint {done} after {acks}"


@scenario(outputs="checkpoint", crash_check=is_there, expect="lost-ack")
def checkpoint_removed_first() -> None:
    done = int(CHECKPOINT.read_text()) if CHECKPOINT.exists() else 0
    for number in range(done + 1, 4):
        NEXT.write_text(str(number))
        CHECKPOINT.unlink(missing_ok=True)  # the recovery begins again, and hides what readers missed
        NEXT.rename(CHECKPOINT)
        ack(number)
