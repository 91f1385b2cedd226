"""Signals that a run sends: those to its own processes go on, any other would end us, or what is the user's.

A pipeline that ends its parent ends a worker; one that ends its group or everything, a suite and a session.
Sources: kill(2), tgkill(2), rt_sigqueueinfo(2), pidfd_send_signal(2), proc_pid_stat(5), proc_pid_status(5).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection, Iterator

from .task import descriptor_path, signed

#: Which argument of a call holds the signal.
CALLS = {
    "kill": 1, "tkill": 1, "tgkill": 2, "rt_sigqueueinfo": 1, "rt_tgsigqueueinfo": 2, "pidfd_send_signal": 1,
}  # fmt: skip
#: Signals that end and stop nothing (signal(7)); 0 only asks.
HARMLESS = (0, signal.SIGURG, signal.SIGCHLD, signal.SIGCONT, signal.SIGWINCH)
_WHOLE_GROUP = 4  # PIDFD_SIGNAL_PROCESS_GROUP
_PARENT, _GROUP = 1, 2  # fields of proc_pid_stat(5) after the name
#: Walks up from a process that are tried, since its parent may end meanwhile.
_WALKS = 3


def outsider(name: str, tid: int, arguments: tuple[int, ...], spared: Collection[int]) -> str:
    """Say whom a signal is for that a task is about to send; "" where that is a process of its own run.

    All that is under this process is of the run, but for what is *spared*. What is not there, and what the
    kernel would not let be sent, is left to the kernel.
    """
    target = signed(arguments[0])
    if target == tid:
        return ""
    if name == "pidfd_send_signal":
        target = _behind(tid, target)
        if target > 0 and arguments[3] & _WHOLE_GROUP:
            target = -_field(target, _GROUP)
    elif _is_elsewhere(tid):
        return ""
    elif target == -1 and name == "kill":
        return "every process there is"
    if target < 0 and name in ("kill", "pidfd_send_signal"):
        return _group(-target, tid, spared)
    if target <= 0 or not _can_be_sent(target) or _is_own(target, spared):
        return ""
    return "its parent" if target == _field(tid, _PARENT) else f"process {target}{_called(target)}"


def name_of(register: int) -> str:
    """Return what a signal is called."""
    number = signed(register)
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _group(group: int, tid: int, spared: Collection[int]) -> str:
    # A group is of one session, and a run has sessions of its own.
    if group == _field(tid, _GROUP) or (_field(group, _GROUP) == group and _is_own(group, spared)):
        return ""
    for pid in _processes():
        if _field(pid, _GROUP) == group and _can_be_sent(pid) and not _is_own(pid, spared):
            return f"process group {group}, with process {pid}{_called(pid)} in it"
    return ""


def _is_own(target: int, spared: Collection[int]) -> bool:
    """Tell whether a process is under this one, and not spared; one that is gone is nobody's."""
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
    """Return a field of what the kernel says of a process, or of a thread's; -1 if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[number])
    except (OSError, IndexError, ValueError):
        return -1


def _processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _behind(tid: int, fd: int) -> int:
    """Return the process that a task's descriptor is about (pidfd_open(2)); -1 if none is left."""
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
    """Tell whether a task has numbers of its own for processes: it can only mean such as its run has made."""
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
