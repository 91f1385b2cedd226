"""``python benchmarks/library_files.py``: what a file written whole costs; writes library_files.md.

Needs `outlive`; atomicwrites, durablewrite, atomicreplace and safer where they are to be compared with. All
that stands in one line was measured side by side: in each round each writer writes once.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from _writers import Write, installed, writers

from outlive import atomic_batch, atomic_write

HERE = Path(__file__).parent
KIB, MIB = 1 << 10, 1 << 20
#: bytes: rounds
SIZES = {4 * KIB: 200, MIB: 40, 64 * MIB: 5}
LEVELS = {
    "full": "content and name are on the disk when it returns",
    "file": "the content is on the disk before the name",
    "none": "no fsync: whole for readers and crashes of the process",
}
FILES = 1_000


def named(size: int) -> str:
    """Say a number of bytes."""
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def side_by_side(found: dict[str, Write], place: str, size: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each writer in each round; the order goes round too."""
    data = os.urandom(MIB) * (size // MIB) if size >= MIB else os.urandom(size)
    took: dict[str, list[float]] = {name: [] for name in found}
    with tempfile.TemporaryDirectory(dir=place) as folder:
        names = list(found)
        for name in names:
            os.mkdir(f"{folder}/{name}")
            found[name](f"{folder}/{name}/out", data)  # from here on all replace a file
        for number in range(rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                path = f"{folder}/{name}/out"
                took[name].append(timed(lambda name=name, path=path: found[name](path, data)))  # type: ignore[misc]
    return took


def ratio(took: dict[str, list[float]], name: str) -> float:
    """Return how many times what the bare calls take a writer takes: the median of the rounds."""
    return median(one / bare for one, bare in zip(took[name], took["bare calls"], strict=True))


def one_file(durable: str, places: dict[str, str], scale: float) -> str:
    """Return the table of one durability: a line each file system and size."""
    found = writers(durable)
    others = [name for name in found if name != "bare calls"]
    lines = [
        f"| file system | size | bare calls | {' | '.join(others)} |",
        f"|---|---:|---:|{'---:|' * len(others)}",
    ]
    for place, folder in places.items():
        for size, rounds in SIZES.items():
            many = rounds * (5 if place == "tmpfs" and size < MIB else 1)
            took = side_by_side(found, folder, size, max(3, round(many * scale)))
            cells = " | ".join(f"{ratio(took, name):.2f}" for name in others)
            bare = f"{median(took['bare calls']) * 1e6:,.0f} µs"
            lines.append(f"| {place} | {named(size)} | {bare} | {cells} |")
            sys.stdout.write(lines[-1] + "\n")
    return "\n".join(lines) + "\n"


def singly(folder: str) -> None:
    """Write the files one after the other."""
    for number in range(FILES):
        atomic_write(f"{folder}/{number}", b"x" * 4 * KIB)


def together(folder: str) -> None:
    """Write the files as one batch."""
    with atomic_batch() as batch:
        for number in range(FILES):
            batch.write(f"{folder}/{number}", b"x" * 4 * KIB)


def by_bare_calls(folder: str) -> None:
    """Write the files one after the other with the bare calls."""
    write = writers("full")["bare calls"]
    for number in range(FILES):
        write(f"{folder}/{number}", b"x" * 4 * KIB)


def many_files(places: dict[str, str], rounds: int) -> str:
    """Return the table of many files."""
    lines = [
        f"| file system | {FILES:,} files, bare calls | atomic_write | atomic_batch | times faster |",
        "|---|---:|---:|---:|---:|",
    ]
    ways = (by_bare_calls, singly, together)
    for place, parent in places.items():
        took: dict[str, list[float]] = {way.__name__: [] for way in ways}
        # Nothing is removed in between: ext4 takes long to give inode numbers again that were just freed.
        with tempfile.TemporaryDirectory(dir=parent) as top:
            for number in range(rounds):
                for way in ways:
                    folder = f"{top}/{number}-{way.__name__}"
                    os.mkdir(folder)
                    took[way.__name__].append(timed(lambda way=way, folder=folder: way(folder)))  # type: ignore[misc]
        bare, one, batch = (median(took[way.__name__]) for way in ways)
        faster = median(a / b for a, b in zip(took["singly"], took["together"], strict=True))
        lines.append(f"| {place} | {bare:.2f} s | {one:.2f} s | {batch:.2f} s | {faster:.1f} |")
        sys.stdout.write(lines[-1] + "\n")
    return "\n".join(lines) + "\n"


def machine() -> str:
    """Say what all this was measured on."""
    tools = ", ".join(f"{name} {have or 'not installed'}" for name, have in installed().items())
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{os.cpu_count()} processors ({platform.machine()}), {platform.system()} {platform.release()}, "
        f"CPython {platform.python_version()}, {tools}; load {load} at the start"
    )


def main() -> None:
    """Measure, print, and write library_files.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--disk", default="/var/tmp", help="a directory on a disk")  # noqa: S108 - private ones in it
    parser.add_argument("--memory", default="/dev/shm", help="a directory on tmpfs")  # noqa: S108 - likewise
    parser.add_argument("--scale", type=float, default=1.0, help="how many rounds, of those that are usual")
    parser.add_argument("--out", type=Path, default=HERE / "library_files.md")
    given = parser.parse_args()
    places = {"disk": given.disk, "tmpfs": given.memory}
    head = (
        f"# A file written whole\n\n{time.strftime('%Y-%m-%d')}: {machine()}.\n\n"
        "`python benchmarks/library_files.py` writes this page. Each file replaces another. Each ratio is\n"
        "the time relative to the bare system calls (open, write, fsync, close, rename, fsync of the\n"
        "directory) in the same round, and the median of all rounds. 1.00 is the limit; less is noise.\n"
        "[library_table.md](library_table.md) shows what the other packages leave out.\n"
    )
    text = [head]
    many = many_files(places, 5)  # before the others leave a disk with a thousand files to forget
    for durable, words in LEVELS.items():
        sys.stdout.write(f"\n{durable}\n")
        text.append(f"\n## Durability {durable}: {words}\n\n{one_file(durable, places, given.scale)}")
    text.append(f"\n## {FILES:,} files of 4 KiB, durability full\n\n{many}")
    given.out.write_text("".join(text))
    sys.stdout.write(f"written: {given.out}\n")


if __name__ == "__main__":
    main()
