"""Worker processes are killed all at once: each writes one file of its own, whole, and needs no marker."""

import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from outlive import atomic_write
from outlive_harness import scenario

CHAPTERS = {
    "one": "the whale and the sea and the ship",
    "two": "a ship is a home on the sea",
    "three": "the captain and the whale",
}


def count_words(chapter: str) -> None:
    counted = Path(f"out/{chapter}.txt")
    if counted.exists():  # it is whole: nobody writes to it under this name
        return
    words = Counter(CHAPTERS[chapter].split())
    atomic_write(counted, "".join(f"{number} {word}\n" for word, number in sorted(words.items())))


@scenario(outputs="out/*")
def worker_processes() -> None:
    Path("out").mkdir(exist_ok=True)
    # Forked workers know the functions of this file; an executor, unlike a Pool, sees it when one dies.
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(max_workers=3, mp_context=fork) as pool:
        list(pool.map(count_words, CHAPTERS))
    parts = [Path(f"out/{chapter}.txt").read_text() for chapter in CHAPTERS]
    atomic_write("out/all.txt", "".join(parts))
