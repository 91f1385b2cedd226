"""An attempt to intercept a real shell, as a program: it prints what this machine could do, as JSON.

It is a process of its own, because the process of a run adopts and reaps all that the run starts.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from outlive_harness import abi
from outlive_harness.intercept.supervisor import CRASH, GO, Answer
from outlive_harness.intercept.tear import duplicate
from outlive_harness.launch.exec import InterceptionRefusedError, start
from outlive_harness.launch.options import Program, RunOptions
from outlive_harness.launch.reap import adopt_orphans, kill_tree
from outlive_harness.launch.run import run
from outlive_harness.results.instants import DEFAULT, SECOND, nanoseconds
from outlive_harness.results.ops import Op

_SECONDS = 20.0


def main() -> None:
    """Make the attempts in the box that the first argument names, and print their results."""
    adopt_orphans()
    box = Path(sys.argv[1])
    found: dict[str, Any] = {}
    try:
        found |= _intercepted(box)
        found["killable"] = _knows_killable()
        try:
            os.close(duplicate(os.getpid(), 1))
        except OSError as error:
            found["getfd"] = str(error)
        found |= _torn(box)
        found["wake"] = _wakes(box)
        found |= _lent(box)
    except InterceptionRefusedError as error:
        found["refused"] = error.strerror
    sys.stdout.write(json.dumps(found))


def _shell(script: str, box: Path) -> Program:
    return Program(["sh", "-c", script], cwd=box, env=os.environ, box=box)


def _intercepted(box: Path) -> dict[str, Any]:
    """Run a shell that opens and writes a file: two ops."""
    ran = run(_shell("echo > f", box), RunOptions(_SECONDS, visit=lambda _op, _number: GO))
    return {"ops": ran.ops, "blind": [reason for _, reason in ran.blind]}


def _knows_killable() -> bool:
    """Return whether the kernel knows WAIT_KILLABLE_RECV: it then refuses the missing filter (EFAULT)."""
    native = abi.native()
    assert native is not None
    libc = ctypes.CDLL(None, use_errno=True)
    flags = abi.SECCOMP_FILTER_FLAG_NEW_LISTENER | abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    libc.syscall(ctypes.c_long(native.numbers["seccomp"]), ctypes.c_ulong(1), ctypes.c_ulong(flags), None)
    return ctypes.get_errno() == errno.EFAULT


def _torn(box: Path) -> dict[str, Any]:
    """Crash a shell after two bytes of a write."""

    def visit(op: Op, _number: int) -> Answer:
        return CRASH if op.kind == "write" else GO

    try:
        run(_shell("echo torn > t", box), RunOptions(_SECONDS, visit=visit, tear=2))
        return {"torn": (box / "t").read_bytes()[:3] == b"to"}
    except InterceptionRefusedError:
        raise
    except OSError as error:
        return {"untorn": str(error)}


def _wakes(box: Path) -> bool:
    """Return whether the kernel knows SYNC_WAKE_UP."""
    child = start(["true"], cwd=box, env=os.environ)
    assert child.listener is not None
    try:
        fcntl.ioctl(child.listener, abi.SECCOMP_IOCTL_NOTIF_SET_FLAGS, abi.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
    except OSError:
        return False
    finally:
        kill_tree(child.pid)
    return True


def _lent(box: Path) -> dict[str, Any]:
    """Run a program whose wall clock stands still, and read it there."""
    instant = nanoseconds(DEFAULT)
    program = replace(_shell("date +%s", box), instant=instant)
    ran = run(program, RunOptions(_SECONDS, visit=lambda _op, _number: GO))
    if ran.unlent:
        return {"unlent": ran.unlent[0]}
    is_lent = ran.stdout.strip() == str(instant // SECOND)
    return {"lent": True} if is_lent else {"unlent": "a program sees the machine's own clock in spite of it"}


if __name__ == "__main__":
    main()
