"""A pool of threads asks for all items before it has done one: none is marked that was not done."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from outlive import Checkpoints, atomic_write
from outlive_harness import scenario

NAMES = ("ash", "beech", "cedar", "elm")


def every_tree_is_there() -> None:
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(NAMES)


@scenario(outputs="out/*", check=every_tree_is_there, faults=("kill", "torn", "full", "eio", "term", "power"))
def library_items_threads() -> None:
    Path("out").mkdir(exist_ok=True)
    run = Checkpoints()
    if run.step_done("plant"):
        return
    items = run.items("plant", NAMES)

    def plant(name: str) -> None:
        with items.doing(name):
            atomic_write(f"out/{name}", f"{name}\n" * 1_000)

    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(plant, items))
    run.mark_done("plant")
