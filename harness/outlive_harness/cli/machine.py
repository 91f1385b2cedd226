"""What this machine can do, and why it cannot do the rest."""

from __future__ import annotations

import enum
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from outlive_harness import abi
from outlive_harness.config.read import NAME, TABLE, read
from outlive_harness.disk.mounts import unescaped
from outlive_harness.disk.realfs import KINDS, missing
from outlive_harness.intercept.versions import has_writer
from outlive_harness.jobs.session import default_box_dir, processors
from outlive_harness.results.value_kinds import ScenarioError

#: What the extra ``harness`` installs.
_PARTS = ("click", "hypothesis", "jinja2", "psutil", "pytest", "pytest-xdist", "rich")


class State(enum.StrEnum):
    """The state of a part of the machine: as it should be, less than that, or missing."""

    GOOD = "ok"
    LESS = "less"
    MISSING = "NO"


class Fact(NamedTuple):
    """One part of the machine: its name, its state, and what was found."""

    name: str
    state: State
    text: str


def examine(box_dir: Path | None = None) -> Iterator[Fact]:
    """Examine this machine, and yield each fact as it is found."""
    enough = State.GOOD if sys.version_info >= (3, 11) else State.MISSING
    yield Fact("python", enough, f"{platform.python_version()} ({sys.executable})")
    yield _machine()
    yield from _interception()
    where = box_dir or default_box_dir()
    yield _boxes(where)
    yield _leases(where)
    yield _temporary()
    for name in KINDS:
        try:
            why = missing(name)
        except OSError as error:
            why = f"{error.filename}: {error.strerror}"
        text = why or f"power cuts on a real {name} can be tried (--real-fs {name})"
        yield Fact(f"real {name}", State.LESS if why else State.GOOD, text)
    yield Fact("processors", State.GOOD, f"{processors()}: as many workers by default")
    for name in _PARTS:
        try:
            yield Fact(name, State.GOOD, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Fact(name, State.MISSING, "not installed: pip install 'outlive[harness]'")
    yield _plugin()
    yield _configuration()


def _configuration() -> Fact:
    """Return where the configuration of this directory was read from."""
    try:
        config = read(Path.cwd())
    except ScenarioError as error:
        return Fact("configuration", State.MISSING, str(error))
    if config.file is None:
        return Fact("configuration", State.GOOD, f"none: there is no {NAME} here or above")
    if not config.values:
        return Fact("configuration", State.GOOD, f"none: {config.file} has nothing in {TABLE}")
    keys = ", ".join(sorted(config.values))
    return Fact("configuration", State.GOOD, f"{TABLE} of {config.file}: {keys}")


def as_text(facts: list[Fact]) -> str:
    """Return the facts as a JSON list of {name, state, text}."""
    return json.dumps([fact._asdict() for fact in facts], indent=2) + "\n"


def _machine() -> Fact:
    seen = f"{platform.system()} {platform.release()}, {platform.machine()}"
    if abi.native() is None:
        return Fact(
            "machine", State.MISSING, f"{seen}: its system calls are not known, so none can be intercepted"
        )
    if not os.path.exists("/proc/self"):
        return Fact("machine", State.MISSING, f"{seen}: /proc is not mounted, and interception needs it")
    return Fact("machine", State.GOOD, seen)


def _temporary() -> Fact:
    """Return whether TMPDIR is on another file system here, as in a box, where renames from it fail."""
    where = tempfile.gettempdir()
    is_other = os.stat(where).st_dev != os.stat(os.curdir).st_dev
    if is_other:
        text = f"{where} is on another file system than this directory; so it is in a box"
    else:
        text = f"{where} is on the file system of this directory; in a box it is not (unless --tmp same)"
    return Fact("temporary files", State.GOOD, text)


def _interception() -> Iterator[Fact]:
    """Intercept a real shell that writes a file."""
    said = _tried()
    why = said.get("refused") or said.get("broken")
    if why is None and said.get("ops") != 2:
        why = f"a shell's open and write were seen as {said.get('ops')} ops {said.get('blind')}"
    if why is not None:
        fallback = "only the fault timer is left: it kills at random moments, and no scenario is held"
        yield Fact("interception", State.MISSING, f"{why}{_surroundings()}; {fallback}")
        return
    yield Fact("interception", State.GOOD, "system calls can be stopped (seccomp user notification)")
    if said.get("killable"):
        yield Fact("signals", State.GOOD, "a stopped call is not reported twice (WAIT_KILLABLE_RECV)")
    else:
        yield Fact(
            "signals", State.LESS, "a signal may report a stopped call twice; not on Linux 5.19 or later"
        )
    if said.get("torn"):
        how = f"/proc, since {said['getfd']}" if said.get("getfd") else "pidfd_getfd"
        yield Fact("torn writes", State.GOOD, f"part of a write can be let through (by {how})")
    else:
        why = said.get("untorn", "part of a write did not arrive")
        yield Fact("torn writes", State.MISSING, f"{why}; so the fault torn comes out as unknown")
    if said.get("wake"):
        yield Fact(
            "wake-up",
            State.GOOD,
            "a stopped program wakes us on its own processor (SYNC_WAKE_UP)",
        )
    else:
        yield Fact("wake-up", State.LESS, "each op takes several times as long as on Linux 6.6 or later")
    if said.get("lent"):
        yield Fact("wall clock", State.GOOD, "can stand still for all processes of a run (--freeze)")
    else:
        why = said.get("unlent", "it was not tried")
        yield Fact("wall clock", State.LESS, f"runs on in spite of --freeze: {why}")


def _tried() -> dict[str, Any]:
    try:
        with tempfile.TemporaryDirectory() as box:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "outlive_harness.cli.attempt", box],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"broken": str(error)}
    if done.returncode:
        return {"broken": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]}
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _surroundings() -> str:
    """Return a remark if this process is under a seccomp filter, as in a container or a sandbox; else ""."""
    try:
        with open("/proc/self/status") as status:
            is_filtered = any(line.split() == ["Seccomp:", "2"] for line in status)
    except OSError:
        return ""
    return " (this process is under a seccomp filter already, as in a container)" if is_filtered else ""


def _boxes(where: Path) -> Fact:
    try:
        with tempfile.TemporaryDirectory(dir=where):
            room = shutil.disk_usage(where).free
    except OSError as error:
        return Fact("boxes", State.MISSING, f"{where}: {error.strerror}; choose a directory with --box-dir")
    kind = _file_system(where)
    text = f"{where}{f' ({kind})' if kind else ''}, {room / 2**30:.1f} GiB free"
    if kind not in ("tmpfs", "ramfs"):
        return Fact("boxes", State.LESS, f"{text}: not in memory, so every trial is slower")
    return Fact("boxes", State.GOOD, text)


def _file_system(where: Path) -> str:
    """Return the type of the file system that holds a directory; "" if it is not known."""
    best, kind = "", ""
    real = os.path.realpath(where)
    try:
        with open("/proc/self/mounts", "rb") as mounts:
            for line in mounts:
                point, name = map(unescaped, line.split()[1:3])
                inside = real == point or real.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, name
    except OSError:
        return ""
    return kind


def _leases(where: Path) -> Fact:
    """Try whether a file lease shows a writer while there is one, and none afterwards."""
    try:
        with tempfile.TemporaryDirectory(dir=where) as place:
            path = os.path.join(place, "file")
            with open(path, "wb"):
                sees = has_writer(path)
            works = sees and not has_writer(path)
    except OSError as error:
        return Fact("file leases", State.LESS, f"cannot be tried: {error.strerror}")
    if works:
        return Fact("file leases", State.GOOD, "show whether an output is still being written")
    return Fact("file leases", State.LESS, "not on this file system, so some torn outputs may be missed")


def _plugin() -> Fact:
    if any(one.name == "outlive" for one in importlib.metadata.entry_points(group="pytest11")):
        return Fact("pytest plugin", State.GOOD, "registered: pytest scenarios")
    return Fact("pytest plugin", State.MISSING, "not registered: outlive is not installed as a package")
