"""The end of a run: every process of its tree is killed and proved gone.

The worker is the subreaper of all that it starts (prctl(2), PR_SET_CHILD_SUBREAPER): an orphan of the tree
becomes the worker's child. So once waitpid(2) fails with ECHILD, no process is left, however they forked,
changed their group or detached.
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

#: Seconds until a process that does not die (stuck in the kernel) is an error.
_LIMIT = 30.0


class SurvivorError(RuntimeError):
    """A process of a killed tree is still alive."""


def adopt_orphans() -> None:
    """Make this process inherit the orphans of its descendants."""
    if sys.platform == "linux":
        prctl(abi.PR_SET_CHILD_SUBREAPER, 1)


def kill_tree(
    pid: int,
    known: set[int] | None = None,
    *,
    spared: Collection[int] = (),
    reap: Callable[[Callable[[], None]], int | None] | None = None,
) -> int | None:
    """SIGKILL a run's leader and all its descendants; return the leader's wait status.

    Args:
        pid: the leader, which has its own session and process group.
        known: process ids that were seen in the tree; psutil confirms that none of them is left.
        spared: children of this process that are not part of the tree: the zygotes.
        reap: waits for a leader that is not our child, and returns its status; it calls its argument while
            that takes long. The leader's own children become ours in any case.

    Returns:
        The leader's status as waitpid(2) returns it; None if it was reaped before.

    Raises:
        SurvivorError: a process outlived SIGKILL.
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
            # The listing is complete: no zombie is left that could hide a child.
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
    """Check with psutil that no process that was seen in the tree is left.

    Raises:
        SurvivorError: one is left.
    """
    me = os.getpid()
    for pid in known:
        with contextlib.suppress(psutil.NoSuchProcess):
            # The id may have been reused since: only a descendant of ours is a survivor.
            if psutil.pid_exists(pid) and any(parent.pid == me for parent in psutil.Process(pid).parents()):
                raise SurvivorError(f"process {pid} survived SIGKILL")


def descendants() -> list[int]:
    """Return the process ids of all living descendants of this process."""
    return [child.pid for child in psutil.Process().children(recursive=True)]


def has_company(leader: int, spared: Collection[int]) -> bool:
    """Return whether a process of a run other than its leader is alive; True if that cannot be seen.

    Args:
        leader: the run's first process, a child of this one.
        spared: children of this process that are not part of the run.
    """
    try:
        threads = os.listdir(f"/proc/{leader}/task")
        below = [_listed(f"/proc/{leader}/task/{thread}/children") for thread in threads]
        # Orphans are our children.
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
