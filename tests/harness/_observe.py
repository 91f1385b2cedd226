"""Runs one program under the supervisor and prints what it saw, as JSON.

A process of its own: the harness is the reaper of all that its process starts, and pytest's children
are not its business. The argument is a JSON object; see the `observe` fixture for its keys.
"""

import ctypes
import errno
import json
import os
import struct
import sys
from pathlib import Path

from outlive_harness import abi
from outlive_harness.intercept.file_times import FileTimes
from outlive_harness.intercept.supervisor import CRASH, GO
from outlive_harness.launch import reap
from outlive_harness.launch.exec import InterceptionRefusedError
from outlive_harness.launch.options import Program, RunOptions
from outlive_harness.launch.run import run


def refuse_seccomp(number: int) -> None:
    """Install a filter of our own that fails every further seccomp(2) call, as a container may."""
    insn = struct.Struct("=HBBI")
    code = (
        insn.pack(0x20, 0, 0, 0)
        + insn.pack(0x15, 0, 1, abi.native().numbers["seccomp"])
        + insn.pack(0x06, 0, 0, abi.SECCOMP_RET_ERRNO | number)
        + insn.pack(0x06, 0, 0, abi.SECCOMP_RET_ALLOW)
    )

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(Program(4, code)), 0, 0) == 0, os.strerror(ctypes.get_errno())


def main() -> None:
    wish = json.loads(sys.argv[1])
    box = Path(wish["box"])
    if wish.get("uid"):
        os.setgroups([])
        os.setgid(wish["uid"])
        os.setuid(wish["uid"])
    if wish.get("refuse"):
        refuse_seccomp(errno.EPERM)
    reap.adopt_orphans()
    ops = []

    def visit(op, number):
        ops.append(op)
        return CRASH if number == wish.get("crash_at") else GO

    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **wish.get("env", {})}
    try:
        ran = run(
            Program(
                wish["argv"],
                cwd=box,
                env=env,
                box=box,
                tmp=wish.get("tmp", ""),
                instant=wish.get("instant"),
                file_times=FileTimes(wish["since"]) if "since" in wish else None,
            ),
            RunOptions(
                timeout=wish.get("timeout", 60),
                visit=None if wish.get("plain") else visit,
                data=wish.get("data", False),
                places=wish.get("places", True),
                syncs=wish.get("syncs", True),
                reads=wish.get("reads", False),
                kill_after=wish.get("kill_after"),
            ),
        )
    except InterceptionRefusedError as error:
        json.dump({"refused": [error.errno, error.strerror]}, sys.stdout)
        return
    seen = {name: getattr(ran, name) for name in ran.__slots__}
    seen["number_of_ops"] = seen.pop("ops")
    seen["alive"] = reap.descendants()
    keys = ("kind", "syscall", "path", "target", "tid", "offset", "length", "flags", "mode")
    seen["ops"] = [
        {**{key: getattr(op, key) for key in keys}, "data": None if op.data is None else op.data.hex()}
        for op in ops
    ]
    seen["fails"] = [None if op.detail is None else op.detail.fails for op in ops]
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
