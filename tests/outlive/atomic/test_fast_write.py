"""What atomic_write does in a row of system calls: where it may not, and what comes in between."""

# Names are compared as text.
# ruff: noqa: PTH208

import contextlib
import errno
import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from outlive import PublishedNotDurableError, atomic_open, atomic_write, remove_orphans
from outlive._atomic import fast_write as _fast_write
from outlive._atomic import temporary as _temporary
from outlive._system import locks as _locks

SUFFIX = ".outlive-tmp"
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="there is such a row on Linux only"),
    pytest.mark.usefixtures("both_ways"),
]
CHROOTED = """
import os, sys
from outlive import atomic_write
from outlive._atomic import files as _files
if sys.argv[2] == "step by step":
    _files.fast_write = lambda *_: False
os.chdir(sys.argv[1])
atomic_write("other", "which locks are believed is known now")
os.chroot(".")
atomic_write("/out", "new")
def fsync(_descriptor):
    raise OSError(5, "as if the disk failed")
os.fsync = fsync
try:
    atomic_write("/out", "newer")
except OSError as error:
    print(error.__notes__, os.listxattr("/out"), sorted(os.listdir("/")))
"""

ANOTHER = """
import sys, outlive
with outlive.atomic_open(sys.argv[1]) as file:
    print("writing", flush=True)
    sys.stdin.readline()
    file.write("others")
"""


@pytest.fixture
def interrupted_lock(monkeypatch):
    """Interrupt the first attempt to take a lock."""
    lock, calls = _temporary.lock, []

    def interrupted(descriptor):
        calls.append(descriptor)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return lock(descriptor)

    monkeypatch.setattr(_temporary, "lock", interrupted)
    monkeypatch.setattr(_fast_write, "lock", interrupted)


def test_a_child_of_a_signal_handler_leaves_the_lock_to_its_parent(monkeypatch, tmp_path):
    """A child that ends in the middle of its parent's write does not make an orphan of what that writes."""
    fsync, removed = os.fsync, []

    def forks(_number, _frame):
        child = os.fork()
        if child == 0:
            raise SystemExit  # out of the handler, and so out of the write
        os.waitpid(child, 0)

    def signalled(descriptor):
        signal.raise_signal(signal.SIGUSR1)
        removed.extend(remove_orphans(tmp_path))
        fsync(descriptor)

    before, me = signal.signal(signal.SIGUSR1, forks), os.getpid()
    try:
        monkeypatch.setattr(os, "fsync", signalled)
        atomic_write(tmp_path / "out", "whole", durable="file")
    except SystemExit:
        if os.getpid() != me:
            os._exit(0)
        raise
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert removed == []
    assert (tmp_path / "out").read_text() == "whole"


def test_what_somebody_else_put_in_place_of_a_temporary_is_not_published(monkeypatch, tmp_path):
    """Who tidies up in the middle of a write makes it fail; what another has begun is not taken for it."""
    fsync = os.fsync

    def tidies_up(descriptor):
        (tmp_path / f".out.0{SUFFIX}").unlink()
        (tmp_path / f".out.0{SUFFIX}").write_text("half of ano")
        fsync(descriptor)

    (tmp_path / "out").write_text("old")
    monkeypatch.setattr(os, "fsync", tidies_up)
    with pytest.raises(FileNotFoundError, match="another program removed its temporary file"):
        atomic_write(tmp_path / "out", "new")
    with (
        pytest.raises(FileNotFoundError, match="another program removed its temporary file"),
        atomic_open(tmp_path / "out") as file,
    ):
        file.write("new")
    assert (tmp_path / "out").read_text() == "old"


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
def test_where_there_is_no_proc(tmp_path, both_ways):
    """After a chroot attributes are kept and a write that fails leaves nothing, as before it."""
    (tmp_path / "out").write_text("old")
    try:
        os.setxattr(tmp_path / "out", "user.kept", b"yes")
    except OSError:
        pytest.skip("no extended attributes here")
    ran = subprocess.run(
        [sys.executable, "-c", CHROOTED, str(tmp_path), both_ways], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[\"destination='/out' was not written\"] ['user.kept'] ['other', 'out']"


@pytest.mark.usefixtures("interrupted_lock")
def test_interrupt_before_the_lock(monkeypatch, tmp_path):
    """What is not locked is removed with its lock in hand: another may have taken the name since."""
    temporary, unlink, others = tmp_path / f".out.0{SUFFIX}", os.unlink, []

    def meanwhile(path, **more):
        if not others:
            # Another writer takes it for an orphan, and begins its own under the name.
            argv = [sys.executable, "-c", ANOTHER, str(tmp_path / "out")]
            writer = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            others.append(writer)
            others.append(writer.stdout.readline())
        unlink(path, **more)

    monkeypatch.setattr(os, "unlink", meanwhile)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "out", "x")
    monkeypatch.undo()
    writer, name = others
    with writer:
        writer.communicate("\n")
    assert writer.returncode == 0, name
    assert (tmp_path / "out").read_text() == "others"
    assert not temporary.exists()


def test_interrupt_while_a_write_is_given_up(monkeypatch, tmp_path):
    """A second error on the way out leaves no temporary either."""

    def fails(_descriptor):
        raise OSError(errno.EIO, "as if the disk failed")

    is_at, calls = _temporary.Temporary.is_at, []

    def interrupted(self, path):
        calls.append(path)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return is_at(self, path)

    monkeypatch.setattr(os, "fsync", fails)
    monkeypatch.setattr(_temporary.Temporary, "is_at", interrupted)
    with contextlib.suppress(KeyboardInterrupt):
        atomic_write(tmp_path / "out", "x")
    gc.collect()
    assert os.listdir(tmp_path) == []


def test_errors_name_real_paths(monkeypatch, tmp_path):
    """Whichever call fails, the error says where: a path that is good tomorrow, too."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/out").write_text("old")
    monkeypatch.chdir(tmp_path / "sub")
    fsync = os.fsync

    def fails_for_directories(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(errno.EIO, "as if the disk failed")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails_for_directories)
        with pytest.raises(PublishedNotDurableError) as caught:
            atomic_write("out", "new")
    assert caught.value.filename == str(tmp_path / "sub")

    def refuses(path, *_arguments, **_options):
        raise OSError(errno.EIO, "as if the disk failed", path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "listxattr", refuses)
        patch.setattr(os, "getxattr", refuses)
        with pytest.raises(OSError, match="as if") as failed:
            atomic_write("out", "new")
    assert failed.value.filename == str(tmp_path / "sub/out")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
def test_a_file_that_is_mounted_says_nothing_of_its_directory(tmp_path):
    """The locks of a file system are believed whatever is mounted from it into another one."""
    code = """
import os, subprocess, sys
from outlive import atomic_write
from outlive._system import locks as _locks
os.chdir(sys.argv[1])
os.mkdir("net"); open("mine", "w").close()
subprocess.check_call(["mount", "-t", "proc", "none", "net"])  # no file system whose locks are believed
subprocess.check_call(["mount", "--bind", "mine", "net/uptime"])
try:
    atomic_write("net/uptime", "x")
except OSError:
    pass
print(_locks.believes("mine", os.stat("mine").st_dev))
"""
    unshare = ["unshare", "-m", "--propagation", "private"]
    try:
        ran = subprocess.run(
            [*unshare, sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no mount namespace here: {error}")
    assert ran.stdout.split() == ["True"]


def test_want_of_a_descriptor_is_an_error_and_not_a_file_system_without_locks(monkeypatch, tmp_path):
    """Where it cannot be found out whether locks are believed, nothing is written without one."""

    def refuses(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    for known in ("_of_disks", "_of_others"):
        monkeypatch.setattr(_locks, known, {})
    with monkeypatch.context() as patch:
        patch.setattr(_locks, "open", refuses, raising=False)
        with pytest.raises(OSError, match="Too many open files"):
            atomic_write(tmp_path / "out", "x")
    assert os.listdir(tmp_path) == []
    with atomic_open(tmp_path / "out"):
        assert remove_orphans(tmp_path) == []
