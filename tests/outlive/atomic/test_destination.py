"""Where a result goes: a directory that its path does not lead to any more is never taken for another."""

# Names are compared as text.
# ruff: noqa: PTH208

import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from outlive import atomic_batch, atomic_directory, atomic_open, atomic_path, atomic_write

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts and /proc are those of Linux")
CLONE_FILES = 0x400  # of unshare(2)

#: Writes under a name of its own in each way, and tells which of them wrote nothing.
EACH_WAY = """
import ctypes, os, subprocess, sys
from pathlib import Path
from outlive import atomic_batch, atomic_directory, atomic_open, atomic_path, atomic_write

def each_way():
    for way in (atomic_open, atomic_path, atomic_directory, "link", "parents", "batch"):
        try:
            if way == "link":
                os.symlink("linked", "link")
                atomic_write("link", "x")
            elif way == "parents":
                atomic_write("sub/parents", "x", parents=True)
            elif way == "batch":
                with atomic_batch() as batch:
                    batch.write("batch", "x")
            else:
                with way(way.__name__) as given:
                    if way == atomic_path:
                        given.write_text("x")
        except FileNotFoundError as error:
            print("refused", flush=True)
            assert "no path leads to" in str(error), error

os.chdir(sys.argv[1])
"""


def in_namespace(code, *arguments):
    """Run code as root with mounts of its own, and return the lines that it printed."""
    unshare = ["unshare", "-m", "--propagation", "private", sys.executable, "-c", EACH_WAY + code]
    if subprocess.run([*unshare[:4], "true"], check=False).returncode:
        pytest.skip("no mount namespace here")
    ran = subprocess.run([*unshare, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
def test_working_directory_under_a_mount(tmp_path):
    """What is mounted over the directory is not written to: it is an error, or goes below the mount."""
    code = """
os.mkdir("data")
os.chdir("data")
here = os.getcwd()
subprocess.check_call(["mount", "-t", "tmpfs", "none", here])
each_way()
atomic_write("write", "x")
def fsync(_descriptor):
    raise OSError(5, "as if the disk failed")
os.fsync = fsync
try:
    atomic_write("write", "y")
except OSError as error:
    print(error.__notes__)
print(os.listdir(here), sorted(os.listdir(".")))
"""
    assert in_namespace(code, tmp_path) == [
        *["refused"] * 6,
        "[\"destination='write' was not written\"]",
        "[] ['link', 'write']",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
def test_working_directory_of_a_file_system_that_is_unmounted(tmp_path):
    """Its path, which begins at its own root, is not taken for one that begins at ours."""
    code = """
os.makedirs("mnt")
subprocess.check_call(["mount", "-t", "tmpfs", "none", "mnt"])
os.makedirs("mnt" + sys.argv[1])
os.chdir("mnt" + sys.argv[1])
subprocess.check_call(["umount", "-l", sys.argv[1] + "/mnt"])
each_way()
print(os.listdir(sys.argv[1]))
"""
    assert in_namespace(code, tmp_path) == ["refused"] * 6 + ["['mnt']"]


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
def test_working_directory_outside_of_the_root(tmp_path):
    """After a chroot the old path of a directory outside is not taken for the one that has it inside."""
    code = """
os.makedirs("outside")
jail = sys.argv[1] + "/jail"
os.makedirs(jail + "/proc")
os.makedirs(jail + os.path.abspath("outside"))
subprocess.check_call(["mount", "-t", "proc", "none", jail + "/proc"])
with atomic_open("warm"), atomic_path("warmer") as path:  # whatever they import
    path.touch()
each = os.path.abspath("outside")
os.chdir("outside")
os.chroot(jail)
each_way()
print(os.listdir(each))
"""
    assert in_namespace(code, tmp_path) == ["refused"] * 6 + ["[]"]


def test_working_directory_that_was_removed(tmp_path, monkeypatch):
    """It is an error, and one that has the name the kernel tells is not taken for it."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    (tmp_path / "gone (deleted)").mkdir()
    for way in (atomic_open, atomic_path, atomic_directory):
        with pytest.raises(FileNotFoundError, match="no path leads to"), way("out"):
            pass
    with pytest.raises(FileNotFoundError, match="no path leads to"), atomic_batch() as batch:
        batch.write("out", "x")
    assert os.listdir(tmp_path / "gone (deleted)") == []


def test_link_to_a_file_that_was_removed(tmp_path, monkeypatch):
    """A link of /proc to a removed file that is still open is refused; its old name is not taken."""
    monkeypatch.chdir(tmp_path)
    with Path("gone").open("w") as file:
        Path("gone").unlink()
        with pytest.raises(FileNotFoundError, match="was removed and is still open"):
            atomic_write(f"/proc/self/fd/{file.fileno()}", "x")
        Path("gone (deleted)").write_text("another")
        with pytest.raises(FileNotFoundError, match="was removed and is still open"):
            atomic_write(f"/proc/self/fd/{file.fileno()}", "x")
    assert Path("gone (deleted)").read_text() == "another"


def test_thread_with_descriptors_of_its_own(tmp_path):
    """A descriptor's number is looked up among those of the thread, and not of the process's first one."""
    for name in ("mine", "others"):
        (tmp_path / name).mkdir()
    (tmp_path / "mine" / "write").write_text("old")
    (tmp_path / "mine" / "write").chmod(0o640)
    ready, opened, failed = threading.Event(), threading.Event(), []

    def run():
        failed.append(ctypes.CDLL(None).unshare(CLONE_FILES))
        ready.set()
        opened.wait(60)
        with atomic_open(tmp_path / "mine" / "open") as file:
            file.write("x")
        atomic_write(tmp_path / "mine" / "write", "x")

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(60)
    others = [os.open(tmp_path / "others", os.O_RDONLY) for _ in range(5)]  # of the thread's next numbers
    opened.set()
    thread.join()
    for descriptor in others:
        os.close(descriptor)
    if failed != [0]:
        pytest.skip("no descriptors of a thread's own here")
    assert sorted(os.listdir(tmp_path / "mine")) == ["open", "write"]
    assert os.listdir(tmp_path / "others") == []
