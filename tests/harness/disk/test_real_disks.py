"""Real file systems: the ground truth of the model, and crash points of their own."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from outlive_harness.disk.realfs import KINDS, missing
from outlive_harness.disk.removal import remove_tree
from outlive_harness.results.plan import Point
from outlive_harness.results.scenario_files import find_files, load_file
from outlive_harness.results.verdicts import Verdict
from outlive_harness.trial import real_disk as real
from outlive_harness.trial.real_disk import Cuts, Done, real_cuts

SCENARIOS = find_files([Path(__file__).parents[3] / "scenarios"])
DRIVER = Path(__file__).with_name("_real_disks_driver.py")
PIPELINES = Path(__file__).with_name("_real_pipelines.py")
SLOW = Path(__file__).with_name("_slow_pipelines.py")
SKIPPED = {name: pytest.mark.skipif(bool(missing(name)), reason=missing(name)) for name in KINDS}
every_kind = pytest.mark.parametrize("kind", [pytest.param(name, marks=SKIPPED[name]) for name in KINDS])

STEPS = """
def sync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)

@scenario(outputs="out/*")
def steps():
    for name in ("a", "b"):
        if not Path(f"{name}.done").exists():
            Path("out").mkdir(exist_ok=True)
            Path(f"out/.{name}").write_text(name * 5000)
            if SYNCED: sync(f"out/.{name}"); sync(".")
            os.replace(f"out/.{name}", f"out/{name}")
            if SYNCED: sync("out")
            Path(f"{name}.done").touch()
            if SYNCED: sync(".")
"""


@pytest.fixture
def place(tmp_path):
    """A directory in memory, where images are quick to copy."""
    shared = Path("/dev/shm")
    directory = shared / f"outlive-test-{os.getpid()}-{time.time_ns()}" if shared.is_dir() else tmp_path / "p"
    directory.mkdir()
    yield directory
    remove_tree(directory)


def left_behind(place):
    found = Path("/proc/mounts").read_text().splitlines()
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # another test's, and gone just now
            found.append(path.read_text())
    return [text for text in found if str(place) in text]


def mark_of(driver, *arguments):
    """Run a driver, and return the objects that it printed."""
    done = subprocess.run(
        [sys.executable, "-P", str(driver), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": str(driver.parent)},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def run(code, *arguments):
    subprocess.run([sys.executable, "-P", "-c", code, *arguments], check=True, timeout=60)


@every_kind
def test_the_model_admits_all_that_a_real_file_system_leaves(kind, place):
    """For the lesson and each known-bad scenario, at each op, with the journal just written and without."""
    files = [path for path in SCENARIOS if path.stem == "lesson" or load_file(path)[0].expect]
    results = mark_of(DRIVER, kind, place, *files)
    assert len(results) == 2 * len(files) > 40
    for found in results:
        assert not found["denied"], found
        assert not found["differs"], found
        assert not found["failure"], found
    assert sum(found["states"] for found in results) > 150
    assert left_behind(place) == []


@every_kind
def test_the_model_admits_what_write_back_at_random_leaves(kind, place):
    """Small pipelines, chosen and generated, while files are written back and names committed."""
    results = mark_of(PIPELINES, kind, place)
    assert len(results) >= 60
    for found in results:
        assert not found["denied"], found
    assert sum(found["states"] for found in results) > 150
    assert left_behind(place) == []


#: What each pipeline leaves of its output once a later marker is on the disk, where new data comes last.
ZEROS, EMPTY, WHOLE, OLD = [20000, "0"], [0, ""], [20000, "n"], [5000, "o"]
LEFT_BEHIND = {
    "ext4": [ZEROS, ZEROS, EMPTY, [8192, "0"], EMPTY],
    "ext4-ordered": [WHOLE, WHOLE, EMPTY, [8192, "n"], EMPTY],
    "xfs": [EMPTY, EMPTY, EMPTY, [8192, "0"], EMPTY],
    "btrfs": [OLD] * 5,
}


@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="there is no FUSE (/dev/fuse) for a slow disk")
@every_kind
def test_the_model_admits_what_a_slow_disk_shows(kind, place):
    """After each block write, with what was not flushed kept or half lost; a fast disk hides most of it.

    Zeros under a name that was replaced, an empty file that was written anew and closed: ext4 as it is
    mounted by default, and xfs, leave them, with a later marker fsynced. With dioread_lock ext4 keeps its
    word, except for a file that another process closed, and for one whose blocks were allocated beforehand.
    """
    results = mark_of(SLOW, kind, place)
    several = {profile: [one for one in results if one["profile"] == profile] for profile in LEFT_BEHIND}
    for profile, found in several.items():
        assert not [one["denied"] for one in found if one["denied"]]
        for one, left in zip(found, LEFT_BEHIND[profile], strict=False):
            behind = [state["out"] for state in one["left"] if "mark" in state]
            assert behind == [left] if profile == "ext4-ordered" else left in behind, one
    assert sum(one["images"] for one in results) > 40
    pushed = [state for one in results for state in one["left"] if one["name"] == "pushed, renamed"]
    assert all(state["new"] == WHOLE for state in pushed if "new" in state)
    assert left_behind(place) == []


@every_kind
def test_what_is_synced_holds_on_a_real_file_system(one, kind):
    """No power cut that a real disk shows harms a pipeline with all its fsyncs."""
    result = one("SYNCED = True\n" + STEPS, faults=("kill",), real_fs=kind)
    assert result.verdict is Verdict.HELD, result
    coverage = result.faults[kind]
    assert coverage.tested == coverage.points >= 6


@SKIPPED["ext4"]
def test_an_empty_output_beside_its_marker_is_seen_on_a_real_ext4(one, tmp_path):
    """Without fsync the journal keeps the names, and delayed allocation loses what is in the file."""
    result = one("SYNCED = False\n" + STEPS, faults=("kill",), real_fs="ext4")
    assert {(found.fault, found.kind) for found in result.violations} == {
        ("ext4", "torn-output"),
        ("ext4", "diverged"),
    }
    assert all(found.confirmed for found in result.violations)
    crashed = [path for path in tmp_path.glob(".outlive/failures/*/crashed") if (path / "a.done").exists()]
    assert crashed
    assert [(path / "out/a").stat().st_size for path in crashed] == [0] * len(crashed)


@pytest.mark.skipif(bool(missing("ext4")), reason=missing("ext4"))
@pytest.mark.parametrize("ignore", ["()", '"cache/*"'])
def test_an_ignored_file_makes_another_state_on_a_real_ext4(one, ignore):
    """It is not compared, but the recovery reads it: here it says that the work was done."""
    source = """
def deliver():
    for name in ("out", "cache"):
        Path(name).mkdir()
    Path("cache/job").write_text("todo")

@scenario(outputs="out/r", ignore=IGNORE, setup=deliver)
def early():
    job = os.open("cache/job", os.O_RDWR)
    if os.pread(job, 4, 0) == b"todo":
        with open("out/.r", "w") as f:
            f.write("result"); f.flush(); os.fsync(f.fileno())
        out = os.open("out", os.O_RDONLY)
        os.fsync(out)
        os.pwrite(job, b"done", 0)
        os.fsync(job)
        os.rename("out/.r", "out/r")
        os.fsync(out)
"""
    result = one(source.replace("IGNORE", ignore), faults=("kill",), real_fs="ext4")
    assert ("ext4", "diverged") in {(found.fault, found.kind) for found in result.violations}


@every_kind
def test_a_copy_has_what_was_synced_and_nothing_stays_mounted(kind, place):
    """What syncfs(2) made durable is in each later copy; the original goes on."""
    run(
        """
import sys
from pathlib import Path
from outlive_harness.disk.realfs import RealFs, mounted
kind, place = sys.argv[1], Path(sys.argv[2])
with RealFs(kind, place / "image", place / "disk") as disk:
    (place / "disk/kept").write_text("x" * 5000)
    disk.sync()
    (place / "disk/lost").write_text("y" * 5000)
    disk.snapshot(place / "copy")
    assert (place / "disk/lost").stat().st_size == 5000
with mounted(kind, place / "copy", place / "disk") as found:
    assert (found / "kept").read_text() == "x" * 5000
    assert not (found / "lost").exists() or not (found / "lost").read_text()
try:
    with RealFs(kind, place / "image", place / "disk"):
        raise KeyError
except KeyError:
    pass
""",
        kind,
        str(place),
    )
    assert left_behind(place) == []


@every_kind
def test_a_file_system_may_be_mounted_at_any_path(kind, place):
    """Spaces in the path change nothing; and what fails once it is mounted leaves it unmounted."""
    run(
        """
import os, sys
from pathlib import Path
from outlive_harness.disk import realfs
kind, place = sys.argv[1], Path(sys.argv[2])
with realfs.RealFs(kind, place / "image", place / "a disk") as disk:
    disk.snapshot(place / "copy")
realfs.device_of = lambda where: 1 / 0
try:
    realfs.RealFs(kind, place / "image", place / "disk").__enter__()
except ZeroDivisionError as error:
    assert error.__traceback__ is not None  # it holds all that is still open
    assert not os.path.ismount(place / "disk")
else:
    raise AssertionError("it is mounted")
""",
        kind,
        str(place),
    )
    assert left_behind(place) == []


@every_kind
def test_nothing_is_left_of_a_process_that_is_killed(kind, place):
    """Mounts are the process's own, and go with it; so do the loop devices."""
    code = """
import sys, time
from pathlib import Path
from outlive_harness.disk.realfs import RealFs
with RealFs(sys.argv[1], Path(sys.argv[2]) / "image", Path(sys.argv[2]) / "disk"):
    print("mounted", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-P", "-c", code, kind, place], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"mounted\n"
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    process.stdout.close()
    deadline = time.monotonic() + 30
    while left_behind(place) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left_behind(place) == []


def test_of_workers_that_want_the_same_cuts_one_records_them(tmp_path, monkeypatch):
    """Kept failures are struck by all workers at once; who comes later waits for what the first one has."""
    recorded = []

    def slowly(_runner, _record, _name, cuts, _seed):
        recorded.append(cuts)
        time.sleep(0.1)
        return cuts

    monkeypatch.setattr(real, "_recorded", slowly)
    asked = SimpleNamespace(real_disk=lambda name: tmp_path / name)
    workers = [threading.Thread(target=real_cuts, args=(None, asked, "ext4", 0)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(recorded) == 1


def test_two_runs_of_another_length_have_their_own_promises(tmp_path):
    """A point is of the run that made it, with the ops that were done there and what was said by then."""
    long, short = Done(acks=["a", "b"], said=[0, 0, 1, 2]), Done(acks=["a"], said=[0, 1])
    trees = {(1, 0): "x", (2, 0): "x", (3, 0): "x", (1, 1): "x"}
    points = Cuts(tmp_path, [long, short], trees).points("ext4")
    assert points == [Point("ext4", 1), Point("ext4", 1, 1), Point("ext4", 3)]


def test_what_is_missing_is_said(monkeypatch):
    """Without root or mkfs, the message says what is missing, and in which package it is."""
    missing.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: 1000)
        assert missing("ext4") == "only root may mount file systems"
    missing.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: 0)
        patched.setenv("PATH", "/nonexistent")
        assert missing("btrfs") == "mkfs.btrfs is not installed: Debian has it in the package btrfs-progs"
    missing.cache_clear()
    if os.geteuid() == 0 and shutil.which("setpriv"):  # as root in a container
        code = "from outlive_harness.disk.realfs import missing; print(missing('ext4'))"
        dropped = ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-P", "-c", code]
        done = subprocess.run(dropped, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.startswith("root lacks CAP_SYS_ADMIN here")


def test_a_file_system_that_cannot_be_had_is_refused(tmp_path):
    """The command line says so before any work; exit status 2."""
    code = (
        "import os, sys; os.geteuid = lambda: 1000; from outlive_harness.cli import run; "
        "sys.exit(run(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "check", "--real-fs", "xfs", "--", "true"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "only root may mount" in done.stderr


@SKIPPED["ext4"]
def test_runs_on_a_real_file_system_may_differ_in_their_ops(one):
    """The disk is recorded in two runs; each is judged by what it had done and said itself."""
    source = """
@scenario(outputs="o", faults="kill")
def it():
    for _ in range(int.from_bytes(os.urandom(1), "little") % 8):
        os.close(os.open("lock", os.O_CREAT | os.O_WRONLY))
    put("o", "x")
"""
    for _ in range(3):
        result = one(source, real_fs="ext4")
        assert "IndexError" not in result.reason
        assert result.faults.keys() <= {"kill", "ext4"}


@SKIPPED["ext4"]
def test_several_points_on_a_real_file_system_that_failed_before(one):
    """They are struck first, by several workers at a time, of which one records the disk."""
    source = """
@scenario(outputs="*.out", faults="kill")
def several():
    for n in "abc":
        if not os.path.exists(n + ".out"):
            Path(n + ".tmp").write_text(n * 5000)
            os.rename(n + ".tmp", n + ".out")
"""
    first = one(source, real_fs="ext4")
    assert first.verdict is Verdict.VIOLATED
    for _ in range(2):
        again = one(source, real_fs="ext4")
        assert again.verdict is Verdict.VIOLATED, again
        assert again.faults["ext4"].tested == first.faults["ext4"].tested
