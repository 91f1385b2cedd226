"""Threads that share a process are cut off in any order: each marks what it has finished itself."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from outlive import atomic_write, mark_done, step_done
from outlive_harness import scenario

SHARDS = {"north": range(1, 50), "south": range(50, 80), "west": range(80, 200)}


def split() -> None:
    if not step_done("split"):
        for shard, numbers in SHARDS.items():
            atomic_write(f"out/{shard}.csv", ",".join(map(str, numbers)))
        mark_done("split")


def add_up(shard: str) -> None:
    if not step_done(shard):
        numbers = Path(f"out/{shard}.csv").read_text().split(",")
        atomic_write(f"out/{shard}.sum", f"{sum(map(int, numbers))}\n")
        mark_done(shard)


@scenario(outputs="out/*")
def worker_threads() -> None:
    Path("out").mkdir(exist_ok=True)
    split()
    with ThreadPoolExecutor(max_workers=len(SHARDS)) as pool:
        list(pool.map(add_up, SHARDS))  # list: an exception in a thread is raised here
