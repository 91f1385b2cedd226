"""The loop that every op of a run passes through.

A task that made a call of interest stands still before it. It goes on when we answer; at a crash
point we never answer, and from that moment nothing in the tree can change a file, however the kills
are scheduled.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import select
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from outlive_harness.trace import Op

from . import abi
from .decode import Arguments, Decoder
from .tear import ImmovableError, ShortWrites, write_prefix

_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_RESPONSE = struct.Struct("=QqiI")
_IDENT = struct.Struct("=Q")
_KEEP = 64 * 1024
#: The part of its time that the rest of a tree has whose leader was ended by a signal.
_HURRIED = 0.2
#: What Python's codec unicode_escape makes of characters.
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U(00(?:0[0-9a-f]|10)[0-9a-f]{4})|([nrt\\]))", re.ASCII
)
_SHORT_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


class Answer(NamedTuple):
    """What becomes of a call that stands still.

    Attributes:
        crash: never answer: the run is to be killed in front of it.
        errno: fail the call with this error and do not run it.
        signal: send this to the run's leader, then let the call go on.
        done: say that the call has succeeded, and do not run it.
        part: write so many bytes of the write, say that they were written, and do not run the call.
    """

    crash: bool = False
    errno: int = 0
    signal: int = 0
    done: bool = False
    part: int = 0


GO = Answer()
CRASH = Answer(crash=True)
DONE = Answer(done=True)


class Tail:
    """The last 64 KiB of a stream: what a report shows of a program that may print gigabytes."""

    def __init__(self, pattern: str = "") -> None:
        self._parts = bytearray()
        self._pattern = re.compile(pattern) if pattern else None
        self._line = b""
        #: what lines matched the pattern, in order: the first group, or all of the match
        self.matches: list[str] = []

    def drain(self, fd: int) -> bool:
        """Take what is there now; False at the end of the stream."""
        while True:
            try:
                part = os.read(fd, 1 << 16)
            except BlockingIOError:
                return True
            if not part:
                return False
            self._parts += part
            if self._pattern is not None:
                self._match(self._pattern, part)
            if len(self._parts) > 2 * _KEEP:
                del self._parts[:-_KEEP]

    def _match(self, pattern: re.Pattern[str], part: bytes) -> None:
        *lines, line = (self._line + part).split(b"\n")
        self._line = line[:_KEEP]  # what is longer is no line that acknowledges anything
        for line in lines:
            found = pattern.search(line.decode(errors="surrogateescape"))
            if found is not None:
                value = found[1] if pattern.groups else found[0]
                if value is None:  # a group that took no part
                    continue
                self.matches.append(_unescaped(value) if "escaped" in pattern.groupindex else value)

    def text(self) -> str:
        """Return what was kept, undecodable bytes escaped."""
        return bytes(self._parts[-_KEEP:]).decode(errors="backslashreplace")


def _unescaped(text: str) -> str:
    """Take back the escapes in a line; those of characters that no file could hold stay as they are."""

    def character(match: re.Match[str]) -> str:
        return _SHORT_ESCAPES.get(match[4]) or chr(int(match[1] or match[2] or match[3], 16))

    plain = _ESCAPE.sub(character, text)
    try:
        os.fsencode(plain)
    except UnicodeEncodeError:
        return text
    return plain


#: Seconds past a deadline in which what is ready is still seen to.
_OVERDUE = 0.1


@dataclass(slots=True)
class Watched:
    """What the supervisor saw of one run."""

    #: why the loop ended: ``exited`` (nothing of the tree is left), ``crashed`` (the visitor said
    #: so and a task stands before its op, or the grace after a signal is over), ``timeout``,
    #: ``lingering`` (the leader ended, others did not)
    ended: str = ""
    ops: int = 0
    #: the call that the run was crashed in front of: thread, number, architecture word, arguments
    struck: tuple[int, int, int, Arguments] | None = None
    #: thread ids of all tasks that made a call which was stopped
    pids: set[int] = field(default_factory=set)


class AbandonedError(RuntimeError):
    """The process that asked for this run is gone, or asked to stop."""


def watch(  # noqa: C901, PLR0912, PLR0913, PLR0915 - one hot loop, kept in one place
    listener: int,
    leader: int,
    streams: dict[int, Tail],
    decoder: Decoder,
    visit: Callable[[Op, int], Answer],
    *,
    timeout: float,
    grace: float = 5.0,
    linger: float = 1.0,
    control: int | None = None,
) -> Watched:
    """Answer a run's notifications until it ends, a crash point is reached, or time is up.

    Args:
        listener: the seccomp listener.
        leader: process id of the run's first process.
        streams: descriptors to drain meanwhile, so that the program never blocks on a full pipe.
        decoder: gives the ops.
        visit: called with each op and its number (from 1) before it runs; says what becomes of it.
        timeout: seconds of wall time for the run.
        grace: seconds that the run has left once a signal was sent to it.
        linger: seconds that the rest of the tree has after its leader ended; a fifth of that where that
            was sent a signal and was ended by one, since the rest is to be killed in any case.
        control: a descriptor whose hang-up means that nobody waits for this run any more.

    Raises:
        AbandonedError: *control* hung up.
    """
    _wake_synchronously(listener)
    seen = Watched()
    buffer = bytearray(_NOTIFICATION.size)
    blank = bytes(_NOTIFICATION.size)
    pidfd = os.pidfd_open(leader)
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    poller.register(pidfd, select.POLLIN)
    for fd in streams:
        poller.register(fd, select.POLLIN)
    if control is not None:
        poller.register(control, 0)
    short = ShortWrites()
    deadline = time.monotonic() + timeout
    ending = "timeout"
    try:
        while True:
            left = deadline - time.monotonic()
            ready = poller.poll(min(left * 1000, 2**31 - 1) if left > 0 else 0)  # a C int
            # Many tasks that make ops all the time leave no moment in which nothing is ready.
            if not ready or left < -_OVERDUE:
                seen.ended = ending
                return seen
            for fd, event in ready:
                if fd == listener:
                    if event & select.POLLIN:
                        buffer[:] = blank
                        try:
                            fcntl.ioctl(listener, abi.SECCOMP_IOCTL_NOTIF_RECV, buffer)
                        except OSError as error:
                            if error.errno in (errno.ENOENT, errno.EINTR):  # the task died meanwhile
                                continue
                            raise
                        told = _NOTIFICATION.unpack(buffer)
                        ident, tid, _, number, audit, _ = told[:6]
                        arguments = told[6:]
                        seen.pids.add(tid)
                        short.lift(tid)
                        op = _decode(decoder, listener, ident, tid, number, audit, arguments)
                        if op is None or decoder.refusal:
                            refusal, decoder.refusal = decoder.refusal, 0
                            _answer(listener, ident, refusal)
                            continue
                        seen.ops += 1
                        answer = visit(op, seen.ops)
                        if answer is GO:
                            _answer(listener, ident)
                            continue
                        if answer.crash:
                            seen.ended = "crashed"
                            seen.struck = (tid, number, audit, arguments)
                            return seen
                        if answer.signal:
                            os.kill(leader, answer.signal)
                            deadline, ending = min(deadline, time.monotonic() + grace), "crashed"
                        value = 0
                        if answer.part:
                            call = tid, number, audit, arguments
                            value = _write_part(decoder, listener, ident, call, answer.part, short)
                        _answer(listener, ident, answer.errno, value, done=answer.done or value > 0)
                    elif event & select.POLLHUP:  # no task uses the filter any more
                        seen.ended = "exited"
                        return seen
                elif fd in streams:
                    if not streams[fd].drain(fd):
                        poller.unregister(fd)
                elif fd == pidfd:
                    poller.unregister(pidfd)
                    ending = "lingering" if ending == "timeout" else ending
                    is_hurried = ending == "crashed" and _ending_signal(leader)
                    rest = linger * _HURRIED if is_hurried else linger
                    deadline = min(deadline, time.monotonic() + rest)
                elif event & (select.POLLHUP | select.POLLERR):
                    raise AbandonedError
    finally:
        os.close(pidfd)


def _ending_signal(pid: int) -> int:
    """Return the signal that ended a process nobody has waited for yet; 0 if it exited, or cannot be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().split()[-1]) & 0x7F  # as waitpid(2) gives it: proc_pid_stat(5)
    except (OSError, ValueError, IndexError):
        return 0


def _decode(
    decoder: Decoder, listener: int, ident: int, tid: int, number: int, audit: int, arguments: Arguments
) -> Op | None:
    try:
        op = decoder.op(tid, number, audit, arguments)
    except OSError as error:
        # What the task itself could not read the kernel cannot either: the call fails with EFAULT.
        if error.errno == errno.EFAULT or not _still_valid(listener, ident):
            return None
        decoder.blind["", f"a call's arguments could not be read: {error.strerror or error}"] = None
        return None
    # What was read may be another task's, had this one died and its id been given away.
    if op is not None and not _still_valid(listener, ident):
        return None
    return op


def _write_part(
    decoder: Decoder,
    listener: int,
    ident: int,
    call: tuple[int, int, int, Arguments],
    length: int,
    short: ShortWrites,
) -> int:
    """Write the first bytes of a write; return how many, 0 where the task will itself, or is gone."""
    try:
        try:
            return write_prefix(decoder, call, length, goes_on=True)
        except ImmovableError:
            short.cut(decoder, call, length)
            return 0
    except OSError:
        if _still_valid(listener, ident):
            raise
        return 0


def _still_valid(listener: int, ident: int) -> bool:
    try:
        fcntl.ioctl(listener, abi.SECCOMP_IOCTL_NOTIF_ID_VALID, _IDENT.pack(ident))
    except OSError:
        return False
    return True


def let_go_on(listener: int) -> None:
    """Take one notification, whatever it is of, and let its call run."""
    buffer = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, abi.SECCOMP_IOCTL_NOTIF_RECV, buffer)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINTR):  # the task died meanwhile
            raise
    else:
        _answer(listener, _NOTIFICATION.unpack(buffer)[0])


def _answer(listener: int, ident: int, error: int = 0, value: int = 0, *, done: bool = False) -> None:
    go_on = 0 if error or done else abi.SECCOMP_USER_NOTIF_FLAG_CONTINUE
    try:  # noqa: SIM105 - suppress() takes as long as the call
        fcntl.ioctl(listener, abi.SECCOMP_IOCTL_NOTIF_SEND, _RESPONSE.pack(ident, value, -error, go_on))
    except FileNotFoundError:  # ENOENT: the task was killed by somebody else
        pass


def _wake_synchronously(listener: int) -> None:
    """Hand the processor over directly (Linux 6.6): 11 µs an op where the scheduler takes 80."""
    with contextlib.suppress(OSError):
        flags = ctypes.c_ulong(abi.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP).value
        fcntl.ioctl(listener, abi.SECCOMP_IOCTL_NOTIF_SET_FLAGS, flags)
