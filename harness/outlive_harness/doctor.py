"""What this machine can do, and why not what it can't."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from outlive_harness.explore.session import default_box_dir
from outlive_harness.intercept import abi
from outlive_harness.intercept.versions import has_writer

_NEEDED = ("click", "hypothesis", "jinja2", "psutil", "pytest", "pytest-xdist", "rich")


class Fact(NamedTuple):
    """One thing that was looked at: its name, whether it is as it should be, and what was seen."""

    name: str
    good: bool
    text: str


def _ok(name: str, text: str) -> Fact:
    return Fact(name, good=True, text=text)


def _no(name: str, text: str) -> Fact:
    return Fact(name, good=False, text=text)


def examine(box_dir: Path | None = None) -> Iterator[Fact]:
    """Look at this machine; yields facts as they are found."""
    yield Fact("python", sys.version_info >= (3, 11), f"{platform.python_version()} ({sys.executable})")
    known = abi.native() is not None
    architecture = "" if known else ": no table of its system calls, so calls cannot be intercepted"
    yield Fact(
        "machine", known, f"{platform.system()} {platform.release()}, {platform.machine()}{architecture}"
    )
    yield _interception()
    yield _boxes(box_dir or default_box_dir())
    yield _leases(box_dir or default_box_dir())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield _ok("processors", f"{cores}: as many workers by default")
    for name in _NEEDED:
        try:
            yield _ok(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield _no(name, "not installed: pip install 'outlive[harness]'")


#: Run in a process of its own: the run's process is the reaper of all that it starts.
_TRY = """
import os, sys
from pathlib import Path
from outlive_harness.intercept.supervisor import GO
from outlive_harness.launch.exec import InterceptionRefusedError
from outlive_harness.launch.reap import adopt_orphans
from outlive_harness.launch.run import run
adopt_orphans()
box = Path(sys.argv[1])
try:
    ran = run(["sh", "-c", "echo > f"], cwd=box, env=os.environ, box=box, timeout=20, visit=lambda op, k: GO)
except InterceptionRefusedError as error:
    sys.exit(f"refused: {error.strerror}")
sys.exit(0 if ran.ops == 2 else f"a shell's open and write were seen as {ran.ops} ops: {ran.blind}")
"""


def _interception() -> Fact:
    with tempfile.TemporaryDirectory() as box:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _TRY, box], capture_output=True, text=True, check=False, timeout=60
        )
    if done.returncode == 0:
        return _ok("interception", "works (seccomp user notification): every fault is there")
    why = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"
    return _no("interception", f"{why}; only the fault timer is left, and verdicts are at best unknown")


def _boxes(where: Path) -> Fact:
    try:
        with tempfile.TemporaryDirectory(dir=where):
            room = shutil.disk_usage(where).free
    except OSError as error:
        return _no("boxes", f"{where}: {error.strerror}; choose another directory with --box-dir")
    return _ok("boxes", f"{where}, {room / 2**30:.1f} GiB free")


def _leases(where: Path) -> Fact:
    try:
        with tempfile.NamedTemporaryFile(dir=where) as file:
            works = has_writer(file.name)
    except OSError as error:
        return _no("file leases", str(error))
    return Fact("file leases", works, "work" if works else "not here: some torn outputs may be missed")
