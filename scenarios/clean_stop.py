"""A handler of SIGTERM that only ends the program leaves the rest to the next start."""

import signal
import sys
from pathlib import Path

from outlive import atomic_write, run_steps
from outlive_harness import scenario


def first() -> None:
    atomic_write("out/first.txt", "1\n")


def second() -> None:
    atomic_write("out/second.txt", Path("out/first.txt").read_text() + "2\n")


@scenario(outputs="out/*", faults=("term", "kill"))
def clean_stop() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    Path("out").mkdir(exist_ok=True)
    run_steps([first, second])
