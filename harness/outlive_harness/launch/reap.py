"""The end of a run: every process of its tree killed, and proved gone.

The worker is the subreaper of all that it starts (prctl(2), PR_SET_CHILD_SUBREAPER): an orphan of
the tree becomes the worker's child. So when waitpid(2) says ECHILD, nothing is left, however the
processes forked, changed their group or detached.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Collection
from functools import partial

import psutil

from outlive_harness import abi
from outlive_harness.intercept.filter import prctl

#: Seconds until a process that does not die (stuck in the kernel) is called a fault of ours.
_LIMIT = 30.0


class SurvivorError(RuntimeError):
    """A process of a killed tree is still there."""


def adopt_orphans() -> None:
    """Make this process the one that inherits orphans of what it starts."""
    if sys.platform == "linux":
        prctl(abi.PR_SET_CHILD_SUBREAPER, 1)


def kill_tree(
    pid: int,
    known: set[int] | None = None,
    *,
    spared: Collection[int] = (),
    reap: Callable[[Callable[[], None]], int | None] | None = None,
) -> int | None:
    """SIGKILL the run that *pid* leads and everything under it; return the leader's wait status.

    Args:
        pid: the leader, which is its own session and process group.
        known: process ids that were seen in the tree; psutil confirms that none of them is left.
        spared: children of ours that are no part of the tree: the zygotes.
        reap: waits for the leader where it is not our child, and returns its status; it calls what it is
            given while that takes long. What the leader leaves behind is ours to wait for all the same.

    Returns:
        The leader's status as waitpid(2) gives it, or None if it had been reaped before.

    Raises:
        SurvivorError: something outlived SIGKILL.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    deadline = time.monotonic() + _LIMIT
    status = reap(partial(_kill_descendants, spared)) if reap is not None else None
    while True:
        try:
            gone, code = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if gone == pid:
            status = code
        if gone == 0:
            # With no zombie left to wait for, none can have hidden another from the listing.
            if spared and set(_children(os.getpid())) <= set(spared):
                break
            if time.monotonic() > deadline:
                raise SurvivorError(f"processes survive SIGKILL for {_LIMIT:.0f} s: {descendants()}")
            _kill_descendants(spared)
            time.sleep(0.0002)
    if known:
        confirm_gone(known)
    return status


def confirm_gone(known: set[int]) -> None:
    """Ask psutil whether a process that was seen in the tree is still there.

    Raises:
        SurvivorError: one is.
    """
    me = os.getpid()
    for pid in known:
        with contextlib.suppress(psutil.NoSuchProcess):
            # The id may have been given to a stranger since; only a process under us is a survivor.
            if psutil.pid_exists(pid) and any(parent.pid == me for parent in psutil.Process(pid).parents()):
                raise SurvivorError(f"process {pid} survived SIGKILL")


def descendants() -> list[int]:
    """Return the ids of all living processes under this one."""
    return [child.pid for child in psutil.Process().children(recursive=True)]


def has_company(leader: int, spared: Collection[int]) -> bool:
    """Tell whether anything of a run is alive beside its leader; if that cannot be seen, it may be.

    Args:
        leader: its first process, a child of ours.
        spared: children of ours that are no part of the run.
    """
    try:
        threads = os.listdir(f"/proc/{leader}/task")
        below = [_listed(f"/proc/{leader}/task/{thread}/children") for thread in threads]
        # What lost its parent is our child.
        beside = set(_listed(f"/proc/{os.getpid()}/task/{os.getpid()}/children")) - {leader, *spared}
    except OSError:
        return True
    return any(below) or bool(beside)


def _kill_descendants(spared: Collection[int]) -> None:
    for pid in _children(os.getpid()):
        if pid in spared:
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    try:
        return _listed(f"/proc/{pid}/task/{pid}/children")
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN, or not Linux
        return descendants()


def _listed(path: str) -> list[int]:
    with open(path, "rb") as listing:
        return [int(word) for word in listing.read().split()]
