"""``python benchmarks/library_marks.py``: what it costs to mark a step, and to skip it; library_marks.md.

Needs `outlive`; joblib, luigi, doit, diskcache and batchledger where they are to be compared with, and
strace(1) to count fsyncs. Marks are made on a disk, since that is what they wait for; steps are skipped on
tmpfs, since to skip one waits for no disk. In each round each tool has its turn.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from outlive import Checkpoints

HERE = Path(__file__).parent
RIVALS = ("joblib", "luigi", "doit", "diskcache", "batchledger")
MARKS, CHUNK = 1_000, 100  # marks that are measured, and how many at a time
SIZES = (10_000, 100_000)  # steps that are skipped
PATIENCE = 90.0  # seconds in which a tool may get its steps marked
ROUNDS = 3


class Tool(NamedTuple):
    """A way to keep what is done.

    Attributes:
        mark: marks the names, in a folder of its own.
        opened: opens what is there anew, and gives what is then called with each name to be skipped; or with
            all of them, if the tool goes through its items itself.
        is_loop: whether that is so.
    """

    mark: Callable[[str, list[str]], object]
    opened: Callable[[str], Callable[[Any], object]]
    is_loop: bool = False


def nothing(name: str) -> str:
    """Do a step's work: none."""
    return name


def tools() -> dict[str, Tool]:
    """Return what is compared, by name, as each one's documentation shows it; the limit first."""
    found = {
        "an empty file each, no fsync": Tool(_touch, lambda folder: lambda name: _exists(folder, name)),
        'outlive, `store="sqlite"`': Tool(_one_by_one("sqlite"), _asked("sqlite")),
        "the same, in a group": Tool(_grouped, _asked("sqlite")),
        "the same, by `items`": Tool(_items, _gone_through, is_loop=True),
        "outlive, marker files": Tool(_one_by_one("files"), _asked("files")),
        "joblib": Tool(_joblib, _joblib_opened),
        "luigi": Tool(_luigi, _luigi_opened),
        "doit": Tool(_doit, _doit_opened),
        "diskcache": Tool(_diskcache, _diskcache_opened),
        "batchledger": Tool(_batchledger, _batchledger_opened, is_loop=True),
    }
    return {name: tool for name, tool in found.items() if name not in RIVALS or installed(name)}


def installed(name: str) -> str:
    """Return a package's version; "" if it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _touch(folder: str, names: list[str]) -> None:
    for name in names:
        os.close(os.open(f"{folder}/{name}", os.O_CREAT | os.O_EXCL))


def _exists(folder: str, name: str) -> bool:
    return os.path.exists(f"{folder}/{name}")


def _one_by_one(store: Any) -> Callable[[str, list[str]], None]:  # noqa: ANN401 - one of two words
    def mark(folder: str, names: list[str]) -> None:
        run = Checkpoints(folder, store=store)
        for name in names:
            run.mark_done(name)

    return mark


def _grouped(folder: str, names: list[str]) -> None:
    run = Checkpoints(folder, store="sqlite")
    with run.group():
        for name in names:
            run.mark_done(name)


def _items(folder: str, names: list[str]) -> None:
    run = Checkpoints(folder, store="sqlite")
    with run.group():
        items = run.items("items", names)
        for name in items:
            items.done(name)


def _asked(store: Any) -> Callable[[str], Callable[[str], bool]]:  # noqa: ANN401 - one of two words
    def opened(folder: str) -> Callable[[str], bool]:
        run = Checkpoints(folder, store=store)
        run.step_done("")  # what is marked is read when it is first asked for
        return run.step_done

    return opened


def _gone_through(folder: str) -> Callable[[Iterable[str]], object]:
    run = Checkpoints(folder, store="sqlite")
    return lambda names: list(run.items("items", names))


def _joblib(folder: str, names: list[str]) -> None:
    for name in names:
        _joblib_opened(folder)(name) if name is names[0] else _joblib_last(name)


_joblib_last: Callable[[str], object] = nothing


def _joblib_opened(folder: str) -> Callable[[str], object]:
    global _joblib_last  # noqa: PLW0603 - the one that was opened last
    _joblib_last = import_module("joblib").Memory(folder, verbose=0).cache(nothing)
    return _joblib_last


def _luigi_step(folder: str) -> Any:  # noqa: ANN401 - luigi's
    luigi = import_module("luigi")

    class Step(luigi.Task):  # type: ignore[misc,name-defined]  # luigi's, if it is there
        name = luigi.Parameter()

        def output(self) -> Any:  # noqa: ANN401 - luigi's
            return luigi.LocalTarget(f"{folder}/{self.name}")

        def run(self) -> None:
            with self.output().open("w") as file:
                file.write("")

    return Step


def _luigi(folder: str, names: list[str]) -> None:
    step = _luigi_step(folder)
    for name in names:
        step(name=name).run()


def _luigi_opened(folder: str) -> Callable[[str], object]:
    step = _luigi_step(folder)
    return lambda name: step(name=name).complete()


def _doit_store(folder: str) -> tuple[Any, Callable[[str], Any]]:
    """Return doit's record of what is done, and what makes a task that is to run once."""
    dependency, task = import_module("doit.dependency"), import_module("doit.task").Task
    once = import_module("doit.tools").run_once
    store = dependency.Dependency(dependency.DbmDB, f"{folder}/doit.db")
    return store, lambda name: task(name, None, uptodate=[once])


def _doit(folder: str, names: list[str]) -> None:
    store, task = _doit_store(folder)
    for name in names:
        one = task(name)
        store.get_status(one, {})  # asks `run_once`, which then has its mark saved
        one.save_extra_values()
        store.save_success(one)
    store.close()


def _doit_opened(folder: str) -> Callable[[str], bool]:
    store, task = _doit_store(folder)
    return lambda name: bool(store.get_status(task(name), {}).status == "up-to-date")


def _diskcache(folder: str, names: list[str]) -> None:
    with import_module("diskcache").Cache(folder, eviction_policy="none") as cache:
        for name in names:
            cache[name] = True


def _diskcache_opened(folder: str) -> Callable[[str], object]:
    cache = import_module("diskcache").Cache(folder, eviction_policy="none")
    return lambda name: name in cache


def _ledger(folder: str) -> Any:  # noqa: ANN401 - batchledger's
    return import_module("batchledger").Ledger(f"{folder}/ledger.sqlite", namespace="n", version="1")


def _batchledger(folder: str, names: list[str]) -> None:
    with _ledger(folder) as ledger:
        for _ in ledger.map(nothing, names):
            pass


def _batchledger_opened(folder: str) -> Callable[[Iterable[str]], object]:
    def skip(names: Iterable[str]) -> int:
        with _ledger(folder) as ledger:
            return sum(1 for _ in ledger.map(nothing, names))

    return skip


def marking(found: dict[str, Tool], disk: str, scale: float) -> dict[str, float]:
    """Return the microseconds of a mark on a disk: the median of chunks that take turns."""
    took: dict[str, list[float]] = {name: [] for name in found}
    with tempfile.TemporaryDirectory(dir=disk) as place:
        for number in range(max(2, round(MARKS * scale / CHUNK))):
            names = [f"step-{number}-{one}" for one in range(CHUNK)]
            for index, (name, tool) in enumerate(found.items()):
                folder = f"{place}/{index}"
                os.makedirs(folder, exist_ok=True)
                begun = time.perf_counter()
                tool.mark(folder, names)
                took[name].append((time.perf_counter() - begun) / CHUNK * 1e6)
    return {name: median(times) for name, times in took.items()}


def skipping(found: dict[str, Tool], memory: str, size: int) -> dict[str, tuple[int, float, float]]:
    """Return how many steps each tool marked, the milliseconds to open, and the microseconds to skip one."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    with tempfile.TemporaryDirectory(dir=memory) as place:
        several = {}
        for index, (name, tool) in enumerate(found.items()):
            os.mkdir(f"{place}/{index}")
            several[name] = _filled(tool, f"{place}/{index}", size)
        for _ in range(ROUNDS):
            for index, (name, tool) in enumerate(found.items()):
                taken[name].append(_skipped(tool, f"{place}/{index}", several[name]))
    return {
        name: (
            len(several[name]),
            median(one[0] for one in times) * 1e3,
            median(one[1] for one in times) * 1e6,
        )
        for name, times in taken.items()
    }


def _filled(tool: Tool, folder: str, size: int) -> list[str]:
    """Mark so many steps, or as many as there is patience for."""
    names, begun = [f"step-{number}" for number in range(size)], time.perf_counter()
    for start in range(0, size, 5_000):
        tool.mark(folder, names[start : start + 5_000])
        if time.perf_counter() - begun > PATIENCE:
            return names[: start + 5_000]
    return names


def _skipped(tool: Tool, folder: str, names: list[str]) -> tuple[float, float]:
    begun = time.perf_counter()
    skip = tool.opened(folder)
    opened = time.perf_counter()
    if tool.is_loop:
        skip(names)
    else:
        for name in names:
            if not skip(name):
                raise AssertionError(f"{name} was marked, and is not skipped")
    return opened - begun, (time.perf_counter() - opened) / len(names)


def fsyncs(name: str) -> str:
    """Count the fsyncs of one more mark, under strace."""
    if shutil.which("strace") is None:
        return "unknown"
    counts = []
    for marks in (CHUNK, 2 * CHUNK):
        with tempfile.TemporaryDirectory(dir=".") as place:
            command = ["strace", "-f", "-e", "trace=fsync,fdatasync,sync_file_range", "-o", f"{place}/log"]
            os.mkdir(f"{place}/box")
            inner = [sys.executable, __file__, "--only", name, f"{place}/box", str(marks)]
            subprocess.run([*command, *inner], check=True)
            counts.append(len(re.findall(r"sync\w*\(", Path(place, "log").read_text())))
    return f"{(counts[1] - counts[0]) / CHUNK:.2g}"


def machine() -> str:
    """Say what all this was measured on."""
    tools_there = ", ".join(f"{name} {installed(name) or 'not installed'}" for name in ("outlive", *RIVALS))
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{os.cpu_count()} processors ({platform.machine()}), {platform.system()} {platform.release()}, "
        f"CPython {platform.python_version()}, {tools_there}; load {load} at the start"
    )


HEAD = """\
# A mark, and a step that is skipped

{date}: {machine}.

`python benchmarks/library_marks.py` writes this page. Marks are made on a disk; steps are skipped on tmpfs.
"To open" is the time before the first step is skipped. Each tool is used as its documentation shows: joblib
caches a function; luigi's tasks write an empty target, without its scheduler; doit's record is read and
written without its runner, and is on the disk when that ends; batchledger and `items` iterate over the
items, and batchledger stores their results. The fsyncs are those of each further mark: without one, a power
cut can undo the mark. In a group, and with `items`, there is one for a thousand marks.

"""


def main() -> None:
    """Measure, print, and write library_marks.md."""
    if sys.argv[1:2] == ["--only"]:
        _, _, name, folder, marks = sys.argv
        tools()[name].mark(folder, [f"step-{number}" for number in range(int(marks))])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--disk", default="/var/tmp", help="a directory on a disk")  # noqa: S108 - private ones in it
    parser.add_argument("--memory", default="/dev/shm", help="a directory on tmpfs")  # noqa: S108 - likewise
    parser.add_argument("--scale", type=float, default=1.0, help="how many steps, of those that are usual")
    parser.add_argument("--out", type=Path, default=HERE / "library_marks.md")
    given = parser.parse_args()
    text = [HEAD.format(date=time.strftime("%Y-%m-%d"), machine=machine())]
    found = tools()
    marks = marking(found, given.disk, given.scale)
    skips = {
        round(size * given.scale): skipping(found, given.memory, round(size * given.scale)) for size in SIZES
    }
    ours = 'outlive, `store="sqlite"`'
    text.append("| | a mark | fsyncs a mark |")
    text += [f" {size:,} steps: to open | to skip one | times ours |" for size in skips]
    text.append("\n|---|---:|---:|" + "---:|---:|---:|" * len(skips) + "\n")
    for name in found:
        cells = [name, f"{marks[name]:,.1f} µs", fsyncs(name)]
        for size, several in skips.items():
            count, opened, one = several[name]
            part = "" if count == size else f" (of {count:,})"
            cells += [f"{opened:,.1f} ms", f"{one:,.2f} µs{part}", f"{one / several[ours][2]:,.1f}"]
        text.append(f"| {' | '.join(cells)} |\n")
        sys.stdout.write(text[-1])
    given.out.write_text("".join(text))
    sys.stdout.write(f"written: {given.out}\n")


if __name__ == "__main__":
    main()
