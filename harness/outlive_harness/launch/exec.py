"""A run that starts by fork and exec, with the filter installed in between.

The caller must be single-threaded, as a worker is: the child runs Python between fork and exec.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from outlive_harness import abi
from outlive_harness.intercept.filter import install, prctl
from outlive_harness.intercept.listener import Listener

#: The least descriptor number that programs hardly reach.
_UNLIKELY = 900


class InterceptionRefusedError(OSError):
    """The kernel or the container does not permit a listener."""


@dataclass(slots=True)
class Child:
    """A started run: its first process, and the descriptors of the supervisor.

    Attributes:
        pid: process id of the first process.
        listener: the seccomp listener; None for a run that is not intercepted.
        stdout: the reading end of its standard output.
        stderr: the reading end of its standard error.
        reap: waits for the end of a zygote's child, and returns its wait status; None for a child of ours.
    """

    pid: int
    listener: int | None
    stdout: int
    stderr: int
    reap: Callable[[Callable[[], None]], int | None] | None = None

    def close(self) -> None:
        """Close the descriptors, without touching the processes."""
        for fd in (self.listener, self.stdout, self.stderr):
            if fd is not None:
                os.close(fd)


def start(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    intercept: bool = True,
    reads: bool = False,
    looks: bool = False,
    freezes: bool = False,
) -> Child:
    """Start *argv* in *cwd*, in a new session, with an empty standard input.

    Args:
        argv: the program and its arguments.
        cwd: where it runs.
        env: its whole environment.
        intercept: whether its ops are stopped.
        reads: whether calls that read files or talk to an address are stopped, too.
        looks: whether calls that ask for a file are stopped, too.
        freezes: whether calls that have to do with the wall clock are stopped.

    Raises:
        InterceptionRefusedError: the filter could not be installed.
        OSError: the command could not be executed (``filename`` is the command).
    """
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    pid = os.fork()
    if pid == 0:
        theirs = _out_of_the_way(theirs)
        wanted = partial(install, files=intercept, reads=reads, looks=looks, freezes=freezes)
        listen = partial(wanted, channel=theirs.fileno()) if intercept or freezes else None
        _become(argv, cwd, env, theirs, (out_write, err_write), listen)
    os.close(out_write)
    os.close(err_write)
    theirs.close()
    listener = None
    try:
        with ours:
            text = b""
            if intercept or freezes:
                text, fds, _, _ = socket.recv_fds(ours, 4096, 1)
                listener = fds[0] if fds else None
                text = text[1:] if fds else text
            text += _until_closed(ours, listener if reads else None)
    except BaseException:
        os.kill(pid, signal.SIGKILL)  # it has started nothing yet
        os.waitpid(pid, 0)
        Child(pid, listener, out_read, err_read).close()
        raise
    if text:
        os.waitpid(pid, 0)
        Child(pid, listener, out_read, err_read).close()
        raise refusal(text.decode(errors="replace"), argv[0], cwd)
    for fd in (out_read, err_read):
        os.set_blocking(fd, False)
    return Child(pid, listener, out_read, err_read)


def refusal(text: str, command: str, cwd: Path) -> OSError:
    """Return the error that a child reported before it gave up."""
    number, step, message = text.split(" ", 2)
    if step == "intercept":
        return InterceptionRefusedError(int(number), message)
    if step == "exec":
        return OSError(int(number), message, command)
    return OSError(int(number), f"cannot start a process in {cwd}: {message}")


def reset_signals() -> None:
    """Restore the default action of signals that this process handles or ignores."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGPIPE,
        signal.SIGXFSZ,
        signal.SIGIO,
        signal.SIGCHLD,
    ):
        signal.signal(number, signal.SIG_DFL)


def _out_of_the_way(channel: socket.socket) -> socket.socket:
    """Give a socket a number that the program will hardly use: sends on it are not intercepted."""
    with contextlib.suppress(OSError):  # a low limit on descriptors
        return socket.socket(fileno=fcntl.fcntl(channel.fileno(), fcntl.F_DUPFD_CLOEXEC, _UNLIKELY))
    return channel


def _until_closed(channel: socket.socket, listener: int | None) -> bytes:
    """Read until a successful exec closes the other end, or the child has reported an error.

    If the filter stops exec itself, the child's attempts are let go on meanwhile.
    """
    text = b""
    poller = select.poll()
    for fd in (channel.fileno(), *([] if listener is None else [listener])):
        poller.register(fd, select.POLLIN)
    while True:
        for fd, event in poller.poll():
            if fd == listener and event & select.POLLIN:
                call = Listener(fd).receive()
                if call is not None:
                    Listener(fd).let_go_on(call.ident)
            elif fd == listener:
                poller.unregister(fd)
            else:
                more = channel.recv(4096)
                if not more:
                    return text
                text += more


def _become(
    argv: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    channel: socket.socket,
    outputs: tuple[int, int],
    listen: Callable[[abi.Abi | None], int] | None,
) -> None:
    """Turn the forked child into the pipeline; never return."""
    step = "start"
    try:
        os.setsid()
        if sys.platform == "linux":
            prctl(abi.PR_SET_PDEATHSIG, signal.SIGKILL)
        reset_signals()
        os.chdir(cwd)
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, place in ((null, 0), (outputs[0], 1), (outputs[1], 2)):
            os.dup2(fd, place)
        if listen is not None:
            step = "intercept"
            listener = listen(abi.native())
            socket.send_fds(channel, [b"L"], [listener])
            os.close(listener)
        step = "exec"
        os.execvpe(argv[0], list(argv), dict(env))  # noqa: S606 - no shell on purpose
    except OSError as error:
        with contextlib.suppress(OSError):
            channel.sendall(f"{error.errno or 0} {step} {error.strerror or error}".encode())
    finally:
        os._exit(127)
