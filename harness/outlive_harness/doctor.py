"""What this machine can do, and why not what it can't."""

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

from outlive_harness.explore.session import default_box_dir, processors
from outlive_harness.intercept import abi
from outlive_harness.intercept.versions import has_writer
from outlive_harness.realfs import KINDS, missing

#: What the extra ``harness`` installs.
_PARTS = ("click", "hypothesis", "jinja2", "psutil", "pytest", "pytest-xdist", "rich")


class State(enum.StrEnum):
    """How a part of the machine is: as it should be, with something less, or not there."""

    GOOD = "ok"
    LESS = "less"
    MISSING = "NO"


class Fact(NamedTuple):
    """One thing that was looked at: its name, how it is, and what was seen."""

    name: str
    state: State
    text: str


def examine(box_dir: Path | None = None) -> Iterator[Fact]:
    """Look at this machine; yields facts as they are found."""
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


def as_text(facts: list[Fact]) -> str:
    """Return the facts for machines: a JSON list of {name, state, text}."""
    return json.dumps([fact._asdict() for fact in facts], indent=2) + "\n"


def _machine() -> Fact:
    seen = f"{platform.system()} {platform.release()}, {platform.machine()}"
    if abi.native() is None:
        return Fact(
            "machine", State.MISSING, f"{seen}: no table of its system calls, so none can be intercepted"
        )
    if not os.path.exists("/proc/self"):
        return Fact("machine", State.MISSING, f"{seen}: /proc is not mounted, and all is seen by it")
    return Fact("machine", State.GOOD, seen)


def _temporary() -> Fact:
    """Say whether a rename from TMPDIR works here, as it does not in a box."""
    where = tempfile.gettempdir()
    is_other = os.stat(where).st_dev != os.stat(os.curdir).st_dev
    how_it_is = "another file system than" if is_other else "on the file system of"
    text = f"{where} is {how_it_is} this directory"
    how = (
        "as in a box" if is_other else "in a box it is another (--tmp same for pipelines that run only here)"
    )
    return Fact("temporary files", State.GOOD, f"{text}; {how}")


#: Run in a process of its own: the run's process is the reaper of all that it starts.
_TRY = """
import ctypes, errno, fcntl, json, os, sys
from pathlib import Path
from outlive_harness.intercept import abi
from outlive_harness.intercept.supervisor import CRASH, GO
from outlive_harness.intercept.tear import duplicate
from outlive_harness.launch.exec import InterceptionRefusedError, start
from outlive_harness.launch.reap import adopt_orphans, kill_tree
from outlive_harness.launch.run import run

adopt_orphans()
box = Path(sys.argv[1])
said = {}
try:
    ran = run(["sh", "-c", "echo > f"], cwd=box, env=os.environ, box=box, timeout=20, visit=lambda op, k: GO)
    said["ops"], said["blind"] = ran.ops, [reason for _, reason in ran.blind]
    # A flag that the kernel knows is refused for the missing filter (EFAULT), an unknown one as such.
    libc = ctypes.CDLL(None, use_errno=True)
    flags = abi.SECCOMP_FILTER_FLAG_NEW_LISTENER | abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    number = abi.native().numbers["seccomp"]
    libc.syscall(ctypes.c_long(number), ctypes.c_ulong(1), ctypes.c_ulong(flags), None)
    said["killable"] = ctypes.get_errno() == errno.EFAULT
    try:
        os.close(duplicate(os.getpid(), 1))
    except OSError as error:
        said["getfd"] = str(error)
    try:
        run(
            ["sh", "-c", "echo torn > t"], cwd=box, env=os.environ, box=box, timeout=20, tear=2,
            visit=lambda op, k: CRASH if op.kind == "write" else GO,
        )
        said["torn"] = (box / "t").read_bytes()[:3] == b"to"
    except OSError as error:
        said["untorn"] = str(error)
    child = start(["true"], cwd=box, env=os.environ)
    try:
        fcntl.ioctl(child.listener, abi.SECCOMP_IOCTL_NOTIF_SET_FLAGS, abi.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
        said["wake"] = True
    except OSError:
        said["wake"] = False
    finally:
        kill_tree(child.pid)
except InterceptionRefusedError as error:
    said["refused"] = error.strerror
print(json.dumps(said))
"""


def _interception() -> Iterator[Fact]:
    """Intercept a shell that writes a file, for real."""
    said = _tried()
    why = said.get("refused") or said.get("broken")
    if why is None and said.get("ops") != 2:
        why = f"a shell's open and write were seen as {said.get('ops')} ops {said.get('blind')}"
    if why is not None:
        fallback = "only the fault timer is left: random moments, and no verdict of held"
        yield Fact("interception", State.MISSING, f"{why}{_surroundings()}; {fallback}")
        return
    yield Fact("interception", State.GOOD, "a program's calls can be stopped (seccomp user notification)")
    if said.get("killable"):
        yield Fact("signals", State.GOOD, "a stopped call is not reported twice (WAIT_KILLABLE_RECV)")
    else:
        yield Fact(
            "signals", State.LESS, "a signal may report a stopped call twice: Linux 5.19 or later does not"
        )
    if said.get("torn"):
        how = f"/proc, since {said['getfd']}" if said.get("getfd") else "pidfd_getfd"
        yield Fact("torn writes", State.GOOD, f"a part of a write can be let through (by {how})")
    else:
        why = said.get("untorn", "a part of a write did not arrive")
        yield Fact("torn writes", State.MISSING, f"{why}; so the fault torn is unknown")
    if said.get("wake"):
        yield Fact("wake-up", State.GOOD, "a stopped program hands over its processor (SYNC_WAKE_UP)")
    else:
        yield Fact("wake-up", State.LESS, "each op is several times slower than with Linux 6.6 or later")


def _tried() -> dict[str, Any]:
    try:
        with tempfile.TemporaryDirectory() as box:
            done = subprocess.run(
                [sys.executable, "-P", "-c", _TRY, box],
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
    """Tell whether somebody else's filter is the reason, as in a container or a sandbox."""
    try:
        with open("/proc/self/status") as status:
            is_filtered = any(line.split() == ["Seccomp:", "2"] for line in status)
    except OSError:
        return ""
    return " (we are under a seccomp filter of our surroundings, as in a container)" if is_filtered else ""


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
    """Return the type of the file system that a directory is on; "" where nobody says."""
    best, kind = "", ""
    real = os.path.realpath(where)
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                _, point, name, *_ = line.split()
                inside = real == point or real.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, name
    except OSError:
        return ""
    return kind


def _leases(where: Path) -> Fact:
    """A writer must be seen while it is there, and not when it is gone."""
    try:
        with tempfile.TemporaryDirectory(dir=where) as place:
            path = os.path.join(place, "file")
            with open(path, "wb"):
                sees = has_writer(path)
            works = sees and not has_writer(path)
    except OSError as error:
        return Fact("file leases", State.LESS, f"cannot be tried: {error.strerror}")
    if works:
        return Fact("file leases", State.GOOD, "tell whether an output is still being written")
    return Fact("file leases", State.LESS, "not on this file system: some torn outputs may be missed")


def _plugin() -> Fact:
    if any(one.name == "outlive" for one in importlib.metadata.entry_points(group="pytest11")):
        return Fact("pytest plugin", State.GOOD, "registered: pytest scenarios")
    return Fact("pytest plugin", State.MISSING, "not registered: outlive is not installed as a distribution")
