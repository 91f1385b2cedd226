"""Where the harness comes to its limits: it says so, and holds nothing that it has not seen."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from outlive_harness.jobs.session import Session, default_box_dir
from outlive_harness.results.verdicts import Verdict

LARGE = """
@scenario(outputs="o", faults=("kill", "power"))
def large():
    import random
    with open("t", "w+b") as f:
        for seed in (1, 2):
            data = random.Random(seed).randbytes(4 << 20)
            f.seek(0); f.write(data); f.flush(); os.fsync(f.fileno())
    os.replace("t", "o")
    fd = os.open(".", os.O_RDONLY); os.fsync(fd); os.close(fd)
"""

FILTERS = """
@scenario(outputs="o")
def filters():
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    allow = (ctypes.c_uint64 * 1)(0x7FFF0000 << 32 | 0x06)
    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
    program = Program(1, ctypes.addressof(allow))
    number = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
    listener = libc.syscall(number, 1, FLAGS, ctypes.byref(program))
    if listener < 0:
        sys.exit(f"this program needs its own filter: {os.strerror(ctypes.get_errno())}")
    put("o", "x")
    put("o", "x")
"""


@pytest.fixture
def small(tmp_path):
    """Workers whose boxes are on a file system of 14 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=14m", "none", str(place)], check=True, timeout=30)
    try:
        with Session(jobs=1, box_dir=place) as session:
            yield session
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=30)


@pytest.mark.parametrize(("free", "tmpfs"), [(1 << 30, True), (100 << 20, False)])
def test_boxes_are_on_tmpfs_where_it_has_room(monkeypatch, tmp_path, free, tmpfs):
    """A tmpfs that is nearly full, as Docker's 64 MiB are, is passed over."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda _path, _mode: True)
    usage = shutil.disk_usage("/")._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    assert default_box_dir() == (Path("/dev/shm") if tmpfs else tmp_path)


def test_a_recording_that_fits_nowhere_is_unknown(one, small):
    """Past the bound on memory, with the disk full too: kill is told apart, power is unknown and says why."""
    result = one(LARGE, within=small, memory=0)
    assert result.verdict is Verdict.UNKNOWN, result
    assert result.faults["kill"].tested == result.faults["kill"].points > 0
    assert "the run wrote more than can be kept: 0 MiB are in memory" in result.reason
    assert "No space left" in result.reason


FILLS = """
@scenario(outputs="f*")
def fills():
    import secrets
    if QUIET:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for number in range(2):
        name = secrets.token_hex(4)
        if not Path(f"f{number}").exists():
            with open(name, "wb", buffering=0) as f:
                for _ in range(4):
                    if f.write(bytes(SIZE)) != SIZE:
                        sys.exit("No space left on device")
            os.replace(name, f"f{number}")
"""


@pytest.mark.parametrize(("size", "quiet"), [(800_000, False), (800_000, True), (2_000_000, False)])
def test_a_full_disk_is_not_the_pipeline_s_fault(one, small, size, quiet):
    """Too little room for a recovery beside what a crash left, or for any run, is unknown and says so."""
    result = one(FILLS.replace("SIZE", str(size)).replace("QUIET", str(quiet)), within=small)
    assert result.verdict is Verdict.UNKNOWN, result
    assert "the disk that boxes are on is full" in result.reason
    assert "--box-dir" in result.reason
    assert result.violations == []


def test_a_large_recording_is_kept_in_a_file(one):
    """With room on the disk the bound is no limit of what can be tested."""
    result = one(LARGE, memory=0, points=6)
    assert result.verdict is Verdict.HELD, result
    assert not result.faults["power"].reason


def test_a_program_with_a_filter_of_its_own_is_tested(one):
    """One that only allows takes nothing from ours; all ops are seen."""
    result = one(FILTERS.replace("FLAGS", "0"))
    assert result.verdict is Verdict.HELD, result
    assert result.faults["kill"].tested == result.faults["kill"].points >= 6


def test_a_program_with_a_listener_of_its_own_is_unknown(one):
    """A tree of processes has one listener, and it is ours: the program says what it misses, and so do we."""
    result = one(FILTERS.replace("FLAGS", "8"))
    assert result.verdict is Verdict.UNKNOWN
    assert "this program needs its own filter: Device or resource busy" in result.reason


def test_a_program_that_must_change_user_is_unknown(one, tmp_path):
    """Under a filter set-user-id bits give no rights: what fails by that fails with no fault, and is told."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can make a program of another user's, and run as yet another by setpriv")
    program = tmp_path / "elevated"
    shutil.copy(shutil.which("id"), program)
    program.chmod(0o4755)
    tmp_path.chmod(0o755)
    command = ["sh", "-c", f'test "$(setpriv --reuid 65534 --clear-groups {program} -u)" = 0 && echo x > o']
    result = one(f"made = scenario(command={command!r}, outputs='o')\n")
    assert result.verdict is Verdict.UNKNOWN, result
    assert "the pipeline fails with no fault: it exited with 1" in result.reason


@pytest.mark.parametrize("after", ["begun", "o"])
def test_a_run_that_fails_of_a_signal_is_unknown(one, after):
    """A call that waits to be seen is interrupted by a handler, as no local file system does."""
    result = one(
        """
@scenario(outputs="o", faults=("kill",))
def ticks():
    if Path("AFTER").exists():
        raise InterruptedError(4, os.strerror(4))  # stands in for a signal that came at that moment
    Path("begun").touch()
    put("o", "x")
    Path("begun").unlink()
""".replace("AFTER", after)
    )
    assert result.verdict is Verdict.UNKNOWN, result
    assert "Interrupted system call" in result.reason
    assert result.reason.endswith("which may come of being watched: let its timers fire less often")


def test_a_limit_on_the_size_of_files_is_told(tmp_path):
    """Where the harness's own files may not be as large as they are, it says so at once, and which limit."""
    script = 'ulimit -f 1; exec "$0" -P -m outlive_harness check --outputs o -- sh -c "echo x > o"'
    argv = ["sh", "-c", script, sys.executable]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3, done
    assert "files may be of" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_profile_is_a_usage_error(tmp_path):
    """The command line names those that there are; exit status 2."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "outlive_harness", "check", "--profile", "zfs", "--", "true"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "'zfs' is not one of" in done.stderr
    assert "'ext4'" in done.stderr
