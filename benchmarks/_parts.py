"""What is measured: each part gives a heading, a table and, where there is one, a plot."""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from _rivals import STRACE, TMPFS, Measured, Pipeline, Popen, bare, ckpt_chaos, outlive, run, strace

from outlive_harness.intercept.supervisor import GO
from outlive_harness.launch.options import Program, RunOptions
from outlive_harness.launch.run import run as supervised
from outlive_harness.results.scenario import Scenario, takes_acks
from outlive_harness.results.scenario_files import find_files, load_file

HERE = Path(__file__).parent
SCENARIOS = HERE.parent / "scenarios"
#: Each tool is measured so often, in turn with the others; the median counts.
ROUNDS = 3
Row = tuple[str, ...]
Bars = dict[str, float]


def pipeline(name: str, *arguments: str) -> Pipeline:
    """Return what gives the command of one of our pipelines for a directory."""
    return lambda place: [sys.executable, str(HERE / "pipelines" / f"{name}.py"), place, *arguments]


def rates(name: str, *, jobs: int, seconds: float) -> tuple[list[Row], Bars]:
    """Measure crash points a second of one pipeline, by each tool that is here."""
    command = pipeline(name)
    naive = Popen(command)
    tools: dict[str, Callable[[], Measured]] = {
        "outlive, kill": lambda: outlive(command, jobs=jobs),
        "outlive, kill, torn and power": lambda: outlive(command, jobs=jobs, faults="kill,torn,power"),
        "outlive, all six faults": lambda: outlive(
            command, jobs=jobs, faults="kill,torn,power,full,eio,term"
        ),
        "the bare pipeline, runs": lambda: bare(command, jobs=jobs, seconds=seconds),
        "Popen and a random sleep": lambda: naive.measure(jobs=jobs, seconds=seconds),
        "strace inject": lambda: strace(command, jobs=jobs, seconds=seconds),
        "ckpt-chaos": lambda: ckpt_chaos(command, jobs=jobs),
    }
    if shutil.which("strace") is None:
        del tools["strace inject"]
    if find_spec("ckpt_chaos") is None:
        del tools["ckpt-chaos"]
    found: dict[str, list[Measured]] = {tool: [] for tool in tools}
    for _ in range(ROUNDS):
        for tool, measure in tools.items():
            found[tool].append(measure())
    middle = {tool: sorted(several, key=lambda one: one.rate)[ROUNDS // 2] for tool, several in found.items()}
    ours = middle["outlive, kill"].rate
    rows = [("", "points", "seconds", "points a second", "`outlive`, kill, is", "largest process")]
    rows += [
        (
            tool,
            str(one.points),
            f"{one.seconds:.1f}",
            f"{one.rate:.1f}",
            f"{ours / one.rate:.1f} times as fast",
            f"{one.mebibytes:.0f} MiB" if one.mebibytes else "",
        )
        for tool, one in middle.items()
    ]
    return rows, {tool: one.rate for tool, one in middle.items()}


def first_detection(*, jobs: int, limit: float) -> list[Row]:
    """Measure the time until each known-bad scenario is found out, against random moments."""
    known_bad = [one for path in find_files([SCENARIOS]) for one in load_file(path) if one.expect]
    rows = [("", "`outlive`, seconds", "Popen and a random sleep, seconds", "ratio")]
    for one in known_bad:
        with tempfile.TemporaryDirectory() as store:
            command = [sys.executable, "-P", "-m", "outlive_harness", "test", one.file, "-j", str(jobs)]
            begun = time.monotonic()
            subprocess.run(command, check=True, capture_output=True, cwd=store)
            ours = time.monotonic() - begun
        theirs = _found_by_chance(one, jobs=jobs, limit=limit)
        told = f"not in {limit:.0f}" if theirs is None else f"{theirs:.1f}"
        ratio = (limit if theirs is None else theirs) / ours
        rows.append((one.name, f"{ours:.1f}", told, f"{'over ' if theirs is None else ''}{ratio:.1f}"))
    return rows


def _found_by_chance(one: Scenario, *, jobs: int, limit: float) -> float | None:
    """Return after how many seconds a random kill showed anything wrong; None if none did."""

    def role(name: str) -> list[str]:
        return [sys.executable, "-P", "-m", "outlive_harness._body", one.file, one.name, name, "/"]

    def prepare(place: str) -> None:
        if one.setup is not None:
            subprocess.run(role("setup"), cwd=place, check=True, capture_output=True)

    def check(place: str) -> str:
        with tempfile.TemporaryDirectory() as aside:
            said, acks = Path(aside, "said"), Path(aside, "acks")
            acks.write_text("[]")  # nobody noted what was acknowledged
            more = [said, acks] if one.check is not None and takes_acks(one.check) else [said]
            done = subprocess.run([*role("check"), *more], cwd=place, check=False, capture_output=True)
            return f"{done.returncode} {said.read_text()}"

    begun = time.monotonic()
    matches = one.outputs
    command = role("body") if one.command is None else list(one.command)
    naive = Popen(
        lambda _place: command,
        prepare=prepare,
        outputs=lambda path: not matches or any(Path(path).match(pattern) for pattern in matches),
        check=check if one.check is not None and not matches else None,
    )
    found: list[float] = []

    def work(_worker: int) -> None:
        while not found and time.monotonic() - begun < limit:
            with contextlib.suppress(OSError):  # a file went away while it was looked at
                if naive.trial():
                    found.append(time.monotonic() - begun)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(work, range(jobs)))
    return min(found, default=None)


def supervisor(counts: Sequence[int]) -> list[Row]:
    """Measure what an op costs over bare, by our supervisor and by strace, in microseconds."""
    rows = [("ops", "bare, µs an op", "`outlive`, more", "strace, more", "ratio")]
    for count in counts:
        costs: dict[str, list[float]] = {"bare": [], "ours": [], "strace": []}
        for _ in range(5):
            for tool, seen in costs.items():
                with contextlib.suppress(FileNotFoundError):
                    seen.append(_cost(tool, count))
        bare_cost, ours = min(costs["bare"]), min(costs["ours"])
        row = (str(count), f"{bare_cost:.1f}", f"{ours - bare_cost:.1f}")
        if costs["strace"]:
            theirs = min(costs["strace"]) - bare_cost
            row += (f"{theirs:.1f}", f"{theirs / (ours - bare_cost):.1f}")
        rows.append(row if len(row) == 5 else (*row, "not here", ""))
    return rows


def _cost(tool: str, count: int) -> float:
    with tempfile.TemporaryDirectory(dir=TMPFS) as place:
        command = list(pipeline("writes", str(count))(place))
        if tool == "strace":
            return float(run([*STRACE, "-o", os.devnull, *command])[2])
        visit = (lambda _op, _number: GO) if tool == "ours" else None
        program = Program(command, cwd=Path(place), env=os.environ, box=Path(place))
        ran = supervised(program, RunOptions(600, visit=visit, places=False))
        return float(ran.stdout)


def growth(counts: Sequence[int], *, jobs: int) -> list[Row]:
    """Measure how time grows with the number of like steps."""
    rows = [("steps", "one bare run, seconds", "crash points", "carried out", "seconds", "largest process")]
    for count in counts:
        command = pipeline("steps", str(count))
        with tempfile.TemporaryDirectory() as place:
            once = statistics.median(run(command(os.path.join(place, str(i))))[0] for i in range(3))
        found = outlive(command, jobs=jobs)
        points = found.note.rpartition(" ")[2] or str(found.points)
        rows.append(
            (
                str(count),
                f"{once:.2f}",
                points,
                str(found.points),
                f"{found.seconds:.1f}",
                f"{found.mebibytes:.0f} MiB",
            )
        )
    return rows
