"""A run for each day has the day as its id, so that yesterday's markers do not make today's a no-op."""

from functools import partial
from pathlib import Path

from outlive import Checkpoints, atomic_write, run_steps
from outlive_harness import scenario

SALES = {"monday": (120, 80, 35), "tuesday": (60, 210)}


def add_up(day: str) -> None:
    atomic_write(f"out/{day}.txt", f"{sum(SALES[day])}\n")


def publish(day: str) -> None:
    atomic_write("out/latest.txt", Path(f"out/{day}.txt").read_text())


def latest_is_of_tuesday() -> None:
    assert Path("out/latest.txt").read_text() == "270\n"


@scenario(outputs="out/*", check=latest_is_of_tuesday)
def run_ids() -> None:
    Path("out").mkdir(exist_ok=True)
    for day in SALES:
        steps = {"add up": partial(add_up, day), "publish": partial(publish, day)}
        run_steps(steps, checkpoints=Checkpoints(run_id=day))
