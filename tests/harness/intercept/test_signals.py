"""Signals of a run reach only its own processes: neither the harness nor the user's programs."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from outlive_harness import abi
from outlive_harness.jobs.own_directory import WORKERS
from outlive_harness.jobs.session import Session
from outlive_harness.results.verdicts import Verdict

OBSERVE = Path(__file__).parents[1] / "_observe.py"
NUMBERS = abi.native().numbers
#: Ways to send SIGKILL, to a process or to all of its group.
SENDERS = """
import ctypes, os, signal, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def info(pid):
    what = (ctypes.c_int * 32)(9, 0, -1)  # SI_QUEUE
    return what

WAYS = {
    "kill": lambda pid: os.kill(pid, 9),
    "kill of a group": lambda pid: os.killpg(os.getpgid(pid), 9),
    "tkill": lambda pid: call(NR_tkill, pid, 9),
    "tgkill": lambda pid: call(NR_tgkill, pid, pid, 9),
    "rt_sigqueueinfo": lambda pid: call(NR_rt_sigqueueinfo, pid, 9, info(pid)),
    "rt_tgsigqueueinfo": lambda pid: call(NR_rt_tgsigqueueinfo, pid, pid, 9, info(pid)),
    "pidfd_send_signal": lambda pid: signal.pidfd_send_signal(os.pidfd_open(pid), 9),
    "pidfd_send_signal of /proc": lambda pid: signal.pidfd_send_signal(os.open(f"/proc/{pid}", 0), 9),
}

def send(way, pid):
    try:
        WAYS[way](pid)
    except OSError as error:
        return error.errno
    return 0
"""
for name in ("tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"):
    SENDERS = SENDERS.replace(f"NR_{name}", str(NUMBERS[name]))
WAYS = [
    "kill", "kill of a group", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal",
    "pidfd_send_signal of /proc",
]  # fmt: skip
SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def stranger():
    """A process that is not part of any run, in its own group."""
    process = subprocess.Popen(SLEEPS, start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_no_way_to_send_a_signal_reaches_a_stranger(observe, stranger):
    """Each fails with EPERM, the process lives on, and what was tried is said."""
    program = f"{SENDERS}\nprint([send(way, {stranger.pid}) for way in WAYS])"
    seen = observe(sys.executable, "-c", program)
    assert seen.stdout.strip() == str([1] * len(WAYS))
    assert stranger.poll() is None
    assert seen.refused.startswith(f"was not allowed to send SIGKILL to process {stranger.pid} (")


@pytest.mark.parametrize("orphan", [False, True])
def test_every_way_to_send_a_signal_reaches_the_runs_own(observe, orphan):
    """Its children, in whatever group and session, and those whose parent has ended, are killed."""
    program = f"""{SENDERS}
for way in WAYS:
    read, write = os.pipe()
    if os.fork() == 0:
        if not {orphan} or os.fork() == 0:
            os.setsid()
            os.write(write, b"%d" % os.getpid())
            time.sleep(600)
        os._exit(0)
    os.close(write)
    pid = int(os.read(read, 99))
    assert send(way, pid) == 0, way
    assert os.read(read, 99) == b"", way  # it is gone
"""
    seen = observe(sys.executable, "-c", program)
    assert (seen.code, seen.refused, seen.stderr) == (0, "", "")


@pytest.fixture
def alone():
    """Return the beginning of a command line: what follows has all processes that it sees for itself."""
    argv = ["unshare", "-Urpf", "--kill-child", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*argv, "true"], check=False).returncode:
        pytest.skip("no namespaces of users and processes can be made here (unshare(1))")
    return argv


@pytest.mark.parametrize(
    ("whom", "said"),
    [
        ("os.kill(os.getppid(), 9)", "SIGKILL to its parent, outside the run"),
        ("os.kill(os.getppid(), signal.SIGTERM)", "SIGTERM to its parent, outside the run"),
        ("os.killpg(os.getpgid(os.getppid()), 9)", "SIGKILL to process group"),
        ("os.kill(-1, 9)", "SIGKILL to every process of this machine, outside the run"),
    ],
)
def test_a_run_ends_neither_its_parent_nor_everything(box, alone, whom, said):
    """The call fails, who supervises it goes on, and says what it was; tried where only this can be ended."""
    program = f"import os, signal, sys\ntry:\n    {whom}\nexcept PermissionError:\n    sys.exit(7)"
    request = json.dumps({"argv": [sys.executable, "-c", program], "box": str(box)})
    script = 'sleep 600 & setsid -w "$@" && kill $!'
    command = [sys.executable, "-P", OBSERVE, request]
    done = subprocess.run(
        [*alone, "sh", "-c", script, "sh", *command],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    seen = json.loads(done.stdout)
    assert seen["code"] == 7, seen
    assert said in seen["refused"]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_what_the_kernel_refuses_is_left_to_it(observe, stranger):
    """A signal that the user may not send fails by the kernel: the harness refuses nothing."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o777)
        seen = observe("sh", "-c", f"kill -9 {stranger.pid} 1", uid=65534, box=place)
    assert (seen.code, seen.refused) == (1, "")
    assert stranger.poll() is None


@pytest.mark.parametrize(
    "whom",
    [
        "os.kill(os.getppid(), 0)",
        "os.kill(os.getppid(), signal.SIGCONT)",
        "os.kill(os.getpid(), signal.SIGUSR1)",
        "signal.raise_signal(signal.SIGUSR1)",
        "signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)",
        "os.kill(0, signal.SIGUSR1)",
        "os.kill(-os.getpgrp(), signal.SIGUSR1)",
    ],
)
def test_a_run_may_ask_and_may_signal_itself(observe, whom):
    """Harmless signals, and those that a program sends to itself or its own group, go on."""
    program = f"import os, signal, threading\nsignal.signal(signal.SIGUSR1, lambda *_: None)\n{whom}"
    seen = observe(sys.executable, "-c", program)
    assert (seen.code, seen.refused) == (0, ""), seen.stderr


def test_nobody_is_asked_about_a_process_that_is_gone(observe):
    """The kernel says so (ESRCH), as it would with no harness."""
    seen = observe("sh", "-c", "sh -c 'exit 0' & wait $!; kill -9 $!")
    assert (seen.code, seen.refused) == (1, "")
    assert "No such process" in seen.stderr


def test_a_run_kills_what_is_in_a_namespace_of_its_own(observe, alone):
    """Numbers mean other processes there: all of them are the run's."""
    program = "kill -9 -1; kill -9 2; true"
    seen = observe(*alone, "sh", "-c", f"sleep 600 & {program}")
    assert (seen.code, seen.refused) == (0, ""), seen.stderr


SUITE = """
@scenario(outputs="out/*")
def good():
    for name in "abc":
        put(f"out/{name}", name)

@scenario(outputs="out/*")
def ends_its_parent():
    import signal
    put("out/a", "x")
    os.kill(os.getppid(), signal.SIGKILL)
    put("out/b", "x")

@scenario(outputs="out/*")
def ends_it_after_a_crash():
    found = Path("begun").exists()
    put("begun", "x")
    for name in "abc":
        put(f"out/{name}", name)
    if found and not Path("done").exists():
        os.kill(os.getppid(), 9)
    put("done", "x")
"""


@pytest.mark.parametrize("zygote", [False, True])
def test_a_pipeline_that_kills_its_parent_is_unknown_and_takes_nobody_along(explored, zygote):
    """The others are judged, with a warm interpreter as the parent and with a worker; workers live on."""
    verdicts = {one.name: one for one in explored(SUITE, faults=("kill",), zygote=zygote).scenarios}
    assert verdicts["good"].verdict is Verdict.HELD
    for name in ("ends_its_parent", "ends_it_after_a_crash"):
        assert verdicts[name].verdict is Verdict.UNKNOWN, verdicts[name]
        assert "was not allowed to send SIGKILL to its parent, outside the run" in verdicts[name].reason


UNSEEN = """
def ends_its_parent():
    os.kill(os.getppid(), 9)

def ends_it_after_a_crash():
    if "interrupted" in os.listdir():
        os.kill(os.getppid(), 9)

@scenario(outputs="out", check=ends_its_parent)
def checked():
    put("out", "x")

@scenario(outputs="out", setup=ends_its_parent)
def set_up():
    put("out", "x")

@scenario(outputs="out", check=ends_it_after_a_crash)
def checked_after_a_crash():
    if Path("begun").exists():
        Path("interrupted").touch()
    Path("begun").touch()
    put("out", "x")
    Path("begun").unlink()

@scenario(outputs="out")
def good():
    put("out", "x")
"""


def test_what_ends_us_where_no_call_is_stopped_is_given_up(explored):
    """A check that kills its parent costs three workers and one verdict, however many trials there are."""
    with Session(jobs=1) as own:
        several = explored(UNSEEN, within=own, faults=("kill",), zygote=False).scenarios
        assert len(list((own.root / WORKERS).iterdir())) == 1 + 3 + 3
    found = {one.name: one for one in several}
    assert found["good"].verdict is Verdict.HELD
    assert "was not allowed to send SIGKILL to its parent" in found["set_up"].reason
    for name in ("checked", "checked_after_a_crash"):
        assert found[name].verdict is Verdict.UNKNOWN
        assert "the harness's own process was killed each time that it ran this" in found[name].reason
