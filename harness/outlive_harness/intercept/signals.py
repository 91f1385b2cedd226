"""Signals that a run sends: only those to its own processes are let through.

Any other could end the worker (the run's parent), the test session, or the user's programs.
Sources: kill(2), tgkill(2), rt_sigqueueinfo(2), pidfd_send_signal(2), proc_pid_stat(5), proc_pid_status(5).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection, Iterator

from outlive_harness import abi

from .task import descriptor_path, signed

#: The argument of each call that holds the signal.
CALLS = {
    "kill": 1, "tkill": 1, "tgkill": 2, "rt_sigqueueinfo": 1, "rt_tgsigqueueinfo": 2, "pidfd_send_signal": 1,
}  # fmt: skip
#: Signals that neither end nor stop a process (signal(7)); 0 only asks whether it exists.
HARMLESS = (0, signal.SIGURG, signal.SIGCHLD, signal.SIGCONT, signal.SIGWINCH)
_PARENT, _GROUP = 1, 2  # fields after the name in proc_pid_stat(5)
#: Attempts to walk up from a process, whose parent may end meanwhile.
_WALKS = 3


def outsider(name: str, tid: int, arguments: tuple[int, ...], spared: Collection[int]) -> str:
    """Return whom a task's signal would reach outside its run; "" if only processes of the run.

    All descendants of this process belong to the run, except the *spared* ones. A target that does not exist,
    or that the task has no right to signal, is left to the kernel.
    """
    target = signed(arguments[0])
    if target == tid:
        return ""
    if name == "pidfd_send_signal":
        target = _behind(tid, target)
        if target > 0 and arguments[3] & abi.PIDFD_SIGNAL_PROCESS_GROUP:
            target = -_field(target, _GROUP)
    elif _is_elsewhere(tid):
        return ""
    elif target == -1 and name == "kill":
        return "every process of this machine"
    if target < 0 and name in ("kill", "pidfd_send_signal"):
        return _group(-target, tid, spared)
    if target <= 0 or not _can_be_sent(target) or _is_own(target, spared):
        return ""
    return "its parent" if target == _field(tid, _PARENT) else f"process {target}{_called(target)}"


def name_of(register: int) -> str:
    """Return the name of a signal."""
    number = signed(register)
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _group(group: int, tid: int, spared: Collection[int]) -> str:
    # All of a group are in one session, and a run has its own sessions.
    if group == _field(tid, _GROUP) or (_field(group, _GROUP) == group and _is_own(group, spared)):
        return ""
    for pid in _processes():
        if _field(pid, _GROUP) == group and _can_be_sent(pid) and not _is_own(pid, spared):
            return f"process group {group}, with process {pid}{_called(pid)} in it"
    return ""


def _is_own(target: int, spared: Collection[int]) -> bool:
    """Return whether a process is a descendant of this one, and not spared, or gone."""
    if target in spared:
        return False
    for _ in range(_WALKS):
        pid, me = target, os.getpid()
        while pid > 0 and pid != me:
            pid = _field(pid, _PARENT)
        if pid >= 0:
            return pid == me != target
    return _field(target, _PARENT) < 0


def _field(pid: int, number: int) -> int:
    """Return a field of a process's or thread's proc_pid_stat(5); -1 if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[number])
    except (OSError, IndexError, ValueError):
        return -1


def _processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _behind(tid: int, fd: int) -> int:
    """Return the process of a task's pidfd (pidfd_open(2)); -1 if it is gone."""
    if fd < 0:  # PIDFD_SELF
        return tid
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{tid}/fdinfo/{fd}", "rb") as info:
            for line in info:
                if line.startswith(b"Pid:"):
                    return int(line.split()[1])
        place, _, name = descriptor_path(tid, fd).rpartition(b"/")
        if place == b"/proc":
            return int(name)
    return -1


def _is_elsewhere(tid: int) -> bool:
    """Return whether a task is in its own PID namespace, where it can only name processes of its run."""
    with contextlib.suppress(OSError), open(f"/proc/{tid}/status", "rb") as status:
        return any(line.startswith(b"NSpid:") and len(line.split()) > 2 for line in status)
    return False


def _can_be_sent(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _called(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as name:
            return f" ({name.read().strip()})"
    except OSError:
        return ""
