"""Items that are marked in a pool of processes, where their work is done: none is counted that was not."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from outlive import Checkpoints, Items, atomic_write
from outlive_harness import scenario

NAMES = ("ash", "beech", "cedar", "elm")


def plant(items: Items[str], name: str) -> None:
    with items.doing(name):
        atomic_write(f"out/{name}", f"{name}\n" * 1_000)


def every_tree_is_there() -> None:
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(NAMES)


@scenario(outputs="out/*", check=every_tree_is_there, faults=("kill", "torn", "power"))
def library_items_processes() -> None:
    Path("out").mkdir(exist_ok=True)
    run = Checkpoints()
    if run.step_done("plant"):
        return
    items = run.items("plant", NAMES)
    # Forked workers know the functions of this file.
    with ProcessPoolExecutor(max_workers=2, mp_context=multiprocessing.get_context("fork")) as pool:
        list(pool.map(partial(plant, items), items))
    run.mark_done("plant")
