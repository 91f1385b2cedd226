"""A worker that is forked from the command, which saves its imports.

Only a process of one thread that has run no code but ours can be forked safely.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

#: Seconds between two looks at whether it has ended.
_PAUSE = 0.002


def can_fork() -> bool:
    """Return whether this process has one thread."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:  # not Linux
        return False


class Forked:
    """A forked worker, with the part of subprocess.Popen's interface that a session needs.

    Args:
        module: the module whose ``main(root, number)`` it runs.
        root: the session's directory.
        number: the worker's number.
        errors: the file for its standard error.
    """

    def __init__(self, module: str, root: Path, number: int, errors: BinaryIO) -> None:
        in_read, in_write = os.pipe()
        out_read, out_write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _become(module, root, number, (in_read, out_write, errors.fileno()))
        os.close(in_read)
        os.close(out_write)
        self.stdin = open(in_write, "wb", buffering=0)  # noqa: SIM115 - for as long as the worker lives
        self.stdout = open(out_read, "rb", buffering=0)  # noqa: SIM115 - likewise
        self._status: int | None = None

    def poll(self) -> int | None:
        """Return its exit status; None while it runs."""
        if self._status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # SIGCHLD is ignored, so the status is lost
                pid, status = self.pid, 0
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ends, and return its exit status.

        Raises:
            subprocess.TimeoutExpired: it still runs after *timeout* seconds.
        """
        begun = time.monotonic()
        while True:
            status = self.poll()
            if status is not None:
                return status
            if timeout is not None and time.monotonic() > begun + timeout:
                raise subprocess.TimeoutExpired("worker", timeout)
            time.sleep(_PAUSE)

    def kill(self) -> None:
        """Send SIGKILL, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def _become(module: str, root: Path, number: int, streams: tuple[int, int, int]) -> None:
    """Turn the forked child into a worker; never return."""
    status = 1
    try:
        os.setsid()  # the command handles Ctrl-C
        for target, fd in enumerate(streams):
            os.dup2(fd, target)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # an inherited pipe would keep another worker alive
        for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(one, signal.SIG_DFL)
        if not sys.flags.safe_path:  # never import from the working directory
            del sys.path[0]
        import_module(module).main(root, number)  # imports what only a worker needs
        status = 0
    except BaseException:  # noqa: BLE001 - the child must never continue as the command
        with contextlib.suppress(Exception):
            traceback.print_exc()
            sys.stderr.flush()
    finally:
        os._exit(status)
