"""What else there is to crash a pipeline with, on as many threads as `outlive` has workers."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

#: Calls before which strace is to kill: those with which a pipeline changes files.
CALLS = ("write", "rename", "fsync", "mkdir", "unlink")
TMPFS = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108 - for private directories


STRACE = ("strace", "-f", "--seccomp-bpf", "-e", f"trace={','.join(CALLS)}")


@dataclass(frozen=True, slots=True)
class Measured:
    """What one tool did.

    Attributes:
        points: crash points that it tried (of the bare pipeline: runs).
        seconds: wall time, from its start to its end.
        mebibytes: resident memory of its largest process.
        note: what else must be known.
    """

    points: int
    seconds: float
    mebibytes: float = 0.0
    note: str = ""

    @property
    def rate(self) -> float:
        """Crash points a second."""
        return self.points / self.seconds if self.seconds else 0.0


Pipeline = Callable[[str], Sequence[str]]


def run(argv: Sequence[str]) -> tuple[float, float, str]:
    """Run a tool to its end; return wall seconds, MiB of its largest process, and what it printed."""
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(argv, stdout=said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - begun
        said.seek(0)
        text = said.read()
    return seconds, usage.ru_maxrss / 1024, text


def outlive(pipeline: Pipeline, *, jobs: int, faults: str = "kill") -> Measured:
    """Try all crash points with `outlive`; the time is that of the whole command."""
    with tempfile.TemporaryDirectory(dir=TMPFS) as place:
        target = os.path.join(place, "result.json")
        options = ["--faults", faults, "--outputs", "out/*", "-j", str(jobs), "--json", target]
        seconds, memory, text = run([*_outlive(), "check", *options, "--", *pipeline("{box}")])
        if not os.path.exists(target):
            raise RuntimeError(text)
        (found,) = json.loads(Path(target).read_text())["scenarios"]
    if found["verdict"] != "held":
        raise RuntimeError(f"the benchmark's own pipeline does not hold: {text}")
    points = sum(coverage["points"] for coverage in found["faults"].values())
    tested = sum(coverage["tested"] for coverage in found["faults"].values())
    return Measured(tested, seconds, memory, "" if tested == points else f"{tested} stand for {points}")


def _outlive() -> list[str]:
    return [sys.executable, "-P", "-m", "outlive_harness"]


def bare(pipeline: Pipeline, *, jobs: int, seconds: float) -> Measured:
    """Run the pipeline again and again, each time in a new directory, and crash nothing."""
    return _for_a_while(lambda _number: _whole(pipeline), jobs, seconds)


def _whole(pipeline: Pipeline) -> bool:
    with tempfile.TemporaryDirectory(dir=TMPFS) as place:
        subprocess.run(pipeline(place), check=True, capture_output=True)
    return False


class Popen:
    """The harness that anyone would write first: start, sleep for a random time, kill, run again, compare.

    Args:
        pipeline: gives the command for a directory.
        prepare: fills a new directory, if it is not to be empty.
        outputs: tells outputs from other files.
        check: looks at a directory in place of comparing its outputs.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        prepare: Callable[[str], object] = lambda _place: None,
        outputs: Callable[[str], bool] = lambda path: path.startswith("out/"),
        check: Callable[[str], str] | None = None,
    ) -> None:
        self._pipeline, self._prepare, self._outputs, self._check = pipeline, prepare, outputs, check
        with tempfile.TemporaryDirectory(dir=TMPFS) as place:
            prepare(place)
            begun = time.monotonic()
            subprocess.run(pipeline(place), check=True, capture_output=True, cwd=place)
            self._takes = time.monotonic() - begun
            self._golden = self._look(place)
            self._value = check(place) if check is not None else ""

    def _look(self, place: str) -> dict[str, bytes]:
        files = (path for path in Path(place).rglob("*") if path.is_file())
        named = ((str(path.relative_to(place)), path) for path in files)
        return {name: path.read_bytes() for name, path in named if self._outputs(name)}

    def trial(self, _number: int = 0) -> bool:
        """Crash once, at a random moment; tell whether anything was wrong."""
        with tempfile.TemporaryDirectory(dir=TMPFS) as place:
            self._prepare(place)
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            process = subprocess.Popen(self._pipeline(place), cwd=place, start_new_session=True, **quiet)
            time.sleep(random.uniform(0, self._takes))
            os.killpg(process.pid, 9)
            process.wait()
            if self._check is None and self._is_torn(self._look(place)):
                return True
            try:
                done = subprocess.run(
                    self._pipeline(place), cwd=place, check=False, timeout=20 * self._takes + 5, **quiet
                )
            except subprocess.TimeoutExpired:
                return True
            if done.returncode != 0:
                return True
            if self._check is not None:
                return self._check(place) != self._value
            return self._look(place) != self._golden

    def _is_torn(self, found: dict[str, bytes]) -> bool:
        """Tell whether a part of a file is there; it may have been another file before, and that is right."""
        whole = ((self._golden.get(name, b""), content) for name, content in found.items())
        return any(content != golden and golden.startswith(content) for golden, content in whole)

    def measure(self, *, jobs: int, seconds: float) -> Measured:
        """Crash for a while."""
        return _for_a_while(self.trial, jobs, seconds)


def strace(pipeline: Pipeline, *, jobs: int, seconds: float) -> Measured:
    """Let strace kill before the k-th call of each kind, for as many k as there is time for."""
    with tempfile.TemporaryDirectory(dir=TMPFS) as place:
        log = os.path.join(place, "log")
        box = os.path.join(place, "box")
        os.mkdir(box)
        subprocess.run([*STRACE, "-o", log, *pipeline(box)], check=True, capture_output=True)
        text = Path(log).read_text()
    points = [(call, k + 1) for call in CALLS for k in range(len(re.findall(rf"\b{call}\(", text)))]
    random.Random(0).shuffle(points)

    def trial(number: int) -> bool:
        call, k = points[number % len(points)]
        with tempfile.TemporaryDirectory(dir=TMPFS) as place:
            inject = f"inject={call}:signal=SIGKILL:when={k}"
            command = [*STRACE, "-e", inject, "-o", os.devnull, *pipeline(place)]
            subprocess.run(command, check=False, capture_output=True)
            subprocess.run(pipeline(place), check=True, capture_output=True)
        return False

    return _for_a_while(trial, jobs, seconds)


def ckpt_chaos(pipeline: Pipeline, *, jobs: int) -> Measured:
    """Let ckpt-chaos kill at each file event that it knows."""
    tool = shutil.which("ckpt-chaos", path=os.path.dirname(sys.executable)) or shutil.which("ckpt-chaos")
    if tool is None:
        raise FileNotFoundError("ckpt-chaos is not installed")
    with tempfile.TemporaryDirectory(dir=TMPFS) as place:
        options = ["--jobs", str(jobs), "--result-file", "{out}/out/report.txt", "--work", place]
        seconds, memory, text = run([tool, "run", *options, "--", *pipeline("{out}")])
        count = len(list(Path(place).rglob("result.json")))
    if not count:
        raise RuntimeError(text)
    return Measured(count, seconds, memory, "its own file events")


def _for_a_while(trial: Callable[[int], bool], jobs: int, seconds: float) -> Measured:
    begun = time.monotonic()
    end = begun + seconds

    def work(first: int) -> int:
        count = 0
        while time.monotonic() < end:
            trial(first + count * jobs)
            count += 1
        return count

    with ThreadPoolExecutor(jobs) as pool:
        points = sum(pool.map(work, range(jobs)))
    return Measured(points, time.monotonic() - begun)
