"""run_lock: one run at a time, and no longer than it lives."""

import contextlib
import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from outlive import AlreadyRunningError, Checkpoints, run_lock
from outlive._checkpoints import run_lock as _run_lock

HOLDER = """
import sys, outlive
with outlive.run_lock(sys.argv[1], run_id=sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(folder, run_id=""):
    """Run a process that holds the lock until its standard input ends."""
    command = [sys.executable, "-I", "-c", HOLDER, str(folder), run_id]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def refused(folder, **options):
    """Return the message of a lock that is refused."""
    with pytest.raises(AlreadyRunningError) as caught, run_lock(folder, **options):
        pytest.fail("two runs at a time")
    return str(caught.value)


def test_a_second_run_is_refused_and_told_who_holds_the_lock(tmp_path):
    """While one process is in the body, another fails at once, with the first one's pid and command."""
    with holder(tmp_path) as process:
        message = refused(tmp_path)
    assert f"{str(tmp_path / 'run.lock')!r}: pid {process.pid} on {os.uname().nodename}: " in message
    assert sys.executable in message


def test_a_lock_ends_with_its_body(tmp_path):
    """A run after another gets the lock, also after an exception in the body; the file stays."""
    for _ in range(2):
        with pytest.raises(KeyError), run_lock(tmp_path):
            raise KeyError
    assert os.listdir(tmp_path) == ["run.lock"]  # noqa: PTH208 - names are compared as text
    (tmp_path / "plain").touch()
    assert (tmp_path / "run.lock").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_child_that_leaves_the_body_leaves_the_lock_to_its_parent(tmp_path):
    """A forked child that ends in the body, by sys.exit() or an error, lets no second run in."""
    code = """
import os, sys, outlive
with outlive.run_lock(sys.argv[1]):
    if os.fork() == 0:
        sys.exit(0)
    os.wait()
    print("held", flush=True)
    sys.stdin.readline()
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert f"pid {process.pid} " in refused(tmp_path)
        process.communicate("\n")
    assert (tmp_path / "run.lock").read_text() == ""  # whose it was is told as long as it is held


def test_sigkill_releases(tmp_path):
    """The lock of a killed process is gone with it, though its file names it still."""
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        assert f"pid {process.pid} " in (tmp_path / "run.lock").read_text()
        with run_lock(tmp_path):
            assert f"pid {os.getpid()} " in (tmp_path / "run.lock").read_text()


@pytest.mark.parametrize(
    "content",
    [f"pid {os.getppid()} on here: {'x' * 5000}\n", "\0" * 60, ""],
    ids=["a live pid", "zeros, as a power cut leaves", "nothing"],
)
def test_a_file_of_a_dead_holder_does_not_block(tmp_path, content):
    """What a lock file says locks nobody out, and does not stay there."""
    (tmp_path / "run.lock").write_text(content)
    with run_lock(tmp_path):
        assert (tmp_path / "run.lock").read_text().startswith(f"pid {os.getpid()} ")
        assert "xxx" not in (tmp_path / "run.lock").read_text()


@pytest.mark.parametrize("wait", [True, 60])
def test_a_run_that_waits_gets_the_lock(tmp_path, wait):
    """A run that waits goes on when the other ends."""
    with holder(tmp_path) as process:
        ender = threading.Timer(0.2, process.stdin.close)
        ender.start()
        with run_lock(tmp_path, wait=wait):
            assert process.wait(60) == 0
        ender.join()


def test_a_run_that_waits_in_vain(tmp_path):
    """When the seconds are over the run fails, and says how long it waited."""
    with holder(tmp_path) as process:
        assert f"and has for 0.1 s: pid {process.pid} " in refused(tmp_path, wait=0.1)


def test_a_second_lock_in_the_same_process_is_refused(tmp_path):
    """Neither the same thread nor another one gets the lock twice."""
    messages = []
    with run_lock(tmp_path):
        messages.append(refused(tmp_path))
        thread = threading.Thread(target=lambda: messages.append(refused(tmp_path)))
        thread.start()
        thread.join()
    assert ["pid" in message for message in messages] == [True, True]


def test_runs_with_two_ids_do_not_meet(tmp_path):
    """An id is part of the lock's name, no two ids share one, and none stands in a marker's way."""
    ids = ["", "run", "lock", "a/b", "A", "a", ".", "x" * 300]
    with run_lock(tmp_path), run_lock(tmp_path, run_id="a"), run_lock(tmp_path, run_id="A"):
        for run_id in ids:
            if run_id in ("", "a", "A"):
                refused(tmp_path, run_id=run_id)
            else:
                with run_lock(tmp_path, run_id=run_id):
                    Checkpoints(tmp_path, run_id=run_id).mark_done("run")
    assert Checkpoints(tmp_path).done() == []
    assert len(list(tmp_path.glob("*.lock"))) == len(ids)


def test_a_started_program_does_not_keep_the_lock(tmp_path):
    """A program that the body started, with all descriptors that may be inherited, holds no lock."""
    with run_lock(tmp_path):
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
        links = []
        for entry in Path(f"/proc/{child.pid}/fd").iterdir() if sys.platform == "linux" else []:
            with contextlib.suppress(FileNotFoundError):  # it loads its libraries, and closes them
                links.append(str(entry.readlink()))
        assert str(tmp_path / "run.lock") not in links
    with run_lock(tmp_path):
        child.communicate()


def test_a_removed_file_is_made_again(tmp_path):
    """A lock on a file that was removed meanwhile is no lock: who waited takes the one that stands there."""
    with holder(tmp_path) as process:
        ender = threading.Timer(0.2, lambda: ((tmp_path / "run.lock").unlink(), process.stdin.close()))
        ender.start()
        with run_lock(tmp_path, wait=True):
            ender.join()
            refused(tmp_path)


FOREIGN = {
    "a link to a file": (lambda path: path.symlink_to("precious"), "is a symbolic link"),
    "a link to nothing": (lambda path: path.symlink_to("nothing"), "is a symbolic link"),
    "a hard link": (lambda path: path.hardlink_to(path.with_name("precious")), "has another name"),
    "a pipe": (os.mkfifo, "is not a regular file"),
    "a directory": (lambda path: path.mkdir(), "is not a regular file"),
    "a socket": (lambda path: os.mknod(path, stat.S_IFSOCK | 0o600), "is not a regular file"),
    "a file of another program": (
        lambda path: path.write_text("12345\n"),
        "has content that outlive did not write",
    ),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_no_lock_made_is_refused(tmp_path, what):
    """What stands at the lock file's place is neither emptied nor followed; the error says what it is."""
    make, said = FOREIGN[what]
    (tmp_path / "precious").write_text("data")
    make(tmp_path / "run.lock")
    before = (tmp_path / "run.lock").lstat()
    with pytest.raises(OSError, match=rf"^.Errno \d+. directory=.* lock file run\.lock {said}"):
        run_lock(tmp_path).__enter__()
    assert (tmp_path / "run.lock").lstat() == before
    assert (tmp_path / "precious").read_text() == "data"
    assert len(list(tmp_path.iterdir())) == 2


class _Stop(BaseException):
    """An interrupt."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_an_interrupt_at_any_line(tmp_path):
    """Wherever in the library an interrupt comes, the lock does not outlive the block."""

    def struck_at(number):
        left = [number]

        def trace(frame, event, _argument):
            if frame.f_code.co_filename != _run_lock.__file__:
                return None
            left[0] -= event in ("line", "return")
            if left[0] == 0:
                sys.settrace(None)
                raise _Stop
            return trace

        sys.settrace(trace)
        try:
            with run_lock(tmp_path):
                pass
        except _Stop:
            return True
        finally:
            sys.settrace(None)
        return left[0] <= 0

    at = 1
    while struck_at(at):
        with run_lock(tmp_path):
            at += 1
    assert at > 30


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path, monkeypatch, code):
    """Where flock fails, the error says what to do, and the body does not run."""

    def no_lock(*_args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", no_lock)
    with pytest.raises(OSError, match=r"without locks .*; give a directory on a local disk") as caught:
        run_lock(tmp_path).__enter__()
    assert caught.value.errno == code


def test_a_platform_without_locks(tmp_path, monkeypatch):
    """Without the module fcntl the error says what is missing."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(NotImplementedError, match=r"^run_lock needs flock, which"):
        run_lock(tmp_path).__enter__()


def test_the_lock_holds_where_nothing_can_be_written(tmp_path, monkeypatch):
    """On a full disk the holder cannot be named, and the lock holds all the same."""

    def full(*_args):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "pwrite", full)
    with run_lock(tmp_path):
        assert refused(tmp_path).endswith("its process is not known")


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"wait": "long"}, TypeError, "^wait='long' is not True, False, or a number"),
        ({"wait": None}, TypeError, "^wait=None is not"),
        ({"wait": -1}, ValueError, "^wait=-1 is not a number of seconds"),
        ({"wait": 10**400}, ValueError, "^wait=1000+... is not a number of seconds"),
        ({"wait": float("nan")}, ValueError, "^wait=nan is not a number of seconds"),
        ({"run_id": 5}, TypeError, "^run_id=5 is not a string"),
        ({"directory": ""}, ValueError, "^directory='' is empty"),
        ({"directory": 5}, TypeError, "^directory=5 is not a path"),
    ],
)
def test_bad_arguments(tmp_path, monkeypatch, options, kind, message):
    """What cannot be is refused by name and value, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=message):
        run_lock(**options).__enter__()
    assert list(tmp_path.iterdir()) == []
