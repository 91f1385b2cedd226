"""Steps with atomic outputs and markers hold under every fault: kills, errors, full disks, power cuts."""

from pathlib import Path

from outlive import atomic_write, run_steps
from outlive_harness import scenario


def numbers() -> None:
    atomic_write("out/numbers.txt", "".join(f"{number}\n" for number in range(1500)))


def total() -> None:
    lines = Path("out/numbers.txt").read_text().split()
    atomic_write("out/total.txt", f"{sum(map(int, lines))}\n")


@scenario(outputs="out/*", faults=("kill", "torn", "full", "eio", "term", "power"))
def every_fault() -> None:
    Path("out").mkdir(exist_ok=True)
    run_steps([numbers, total])
