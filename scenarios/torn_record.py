"""A log that is appended to without a look at its end keeps a torn record for ever, amid the others."""

from pathlib import Path

from outlive_harness import scenario

LOG = Path("events.log")


@scenario(
    outputs="events.log",
    append_only="events.log",
    faults="torn",
    torn="bytes",
    expect=("torn-output", "diverged"),
)
def torn_record() -> None:
    done = LOG.read_text().count("\n") if LOG.exists() else 0
    for number in range(done, 4):
        with LOG.open("a") as log:
            log.write(f"event number {number}\n")
