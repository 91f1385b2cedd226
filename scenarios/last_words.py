"""A handler of SIGTERM that saves what there is so far shows readers a partial output."""

import signal
import sys
from pathlib import Path

from outlive import atomic_write
from outlive_harness import scenario


@scenario(outputs="squares.csv", faults="term", expect="torn-output")
def last_words() -> None:
    lines: list[str] = []

    def save_and_stop(*_: object) -> None:
        Path("squares.csv").write_text("".join(lines))
        sys.exit(143)

    signal.signal(signal.SIGTERM, save_and_stop)
    for number in range(3):
        lines.append(f"{number},{number**2}\n")
        atomic_write("progress.txt", f"{number} of 3\n", durable="none")
    atomic_write("squares.csv", "".join(lines), durable="none")
