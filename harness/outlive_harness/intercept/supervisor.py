"""The loop that every op of a run passes through.

A task that makes a call of interest stops before it, and goes on when it is answered. At a crash point it is
never answered: from that moment nothing in the tree can change a file, in whatever order the kills arrive.
"""

from __future__ import annotations

import enum
import errno
import os
import select
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from outlive_harness.jobs.worker import AbandonedError
from outlive_harness.results.ops import Op

from .clock import LentClock
from .decode import Decoder
from .listener import Call, Listener
from .tail import Tail
from .tear import ImmovableError, ShortWrites, write_prefix

#: The fraction of ``linger`` that the rest of a tree has if a signal ended its leader.
_HURRIED = 0.2
#: Seconds past a deadline in which ready events are still handled.
_OVERDUE = 0.1
_MOST_MILLISECONDS = 2**31 - 1  # poll(2) takes a C int


class Answer(NamedTuple):
    """The answer to a stopped call.

    Attributes:
        crash: never answer: the run is to be killed before the call.
        errno: fail the call with this error, without running it.
        signal: send this signal to the run's leader, then let the call go on.
        done: let the call succeed, without running it.
        part: write this many bytes of the write and let the call return that number, without running it.
    """

    crash: bool = False
    errno: int = 0
    signal: int = 0
    done: bool = False
    part: int = 0


GO = Answer()
CRASH = Answer(crash=True)
DONE = Answer(done=True)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a run may take.

    Attributes:
        timeout: seconds of wall time for the run.
        grace: seconds that the run has left after a signal was sent to it.
        linger: seconds that the rest of the tree has after its leader ended; a fifth of that if a signal that
            was sent to the leader ended it, since the rest is killed in any case.
        control: a descriptor whose hang-up abandons the run; None for none.
    """

    timeout: float
    grace: float = 5.0
    linger: float = 1.0
    control: int | None = None


class Ending(enum.StrEnum):
    """How a run ended."""

    #: no process is left
    EXITED = "exited"
    #: the visitor asked for it, and a task is stopped before its op; or the grace after a signal is over
    CRASHED = "crashed"
    TIMEOUT = "timeout"
    #: the leader ended, and other processes did not
    LINGERING = "lingering"


@dataclass(slots=True)
class WatchReport:
    """What the supervisor saw of one run.

    Attributes:
        ended: why the loop ended; None while it goes on.
        ops: the number of ops.
        stopped_at: the call before which the run was crashed.
        pids: thread ids of all tasks that made a call of interest.
    """

    ended: Ending | None = None
    ops: int = 0
    stopped_at: Call | None = None
    pids: set[int] = field(default_factory=set)


def watch(
    listener: int,
    leader: int,
    streams: Mapping[int, Tail],
    decoder: Decoder,
    visit: Callable[[Op, int], Answer],
    limits: Limits,
    clock: LentClock | None = None,
) -> WatchReport:
    """Answer a run's notifications until it ends, a crash point is reached, or time is up.

    Args:
        listener: the seccomp listener.
        leader: process id of the run's first process.
        streams: descriptors to drain meanwhile, so that the program never blocks on a full pipe.
        decoder: turns calls into ops.
        visit: called with each op and its number (from 1) before it runs; returns the answer.
        limits: how long the run may take.
        clock: the wall clock of the run; None for the machine's own.

    Raises:
        AbandonedError: the ``control`` of the limits hung up.
    """
    return _Watch(Listener(listener), leader, streams, decoder, visit, limits, clock).run()


class _Watch:
    """A run under watch; the arguments are those of watch()."""

    def __init__(
        self,
        listener: Listener,
        leader: int,
        streams: Mapping[int, Tail],
        decoder: Decoder,
        visit: Callable[[Op, int], Answer],
        limits: Limits,
        clock: LentClock | None,
    ) -> None:
        self._clock = clock
        self._listener, self._leader, self._streams = listener, leader, streams
        self._decoder, self._visit, self._limits = decoder, visit, limits
        self._seen = WatchReport()
        self._short = ShortWrites()
        self._deadline = time.monotonic() + limits.timeout
        self._ending = Ending.TIMEOUT
        self._poller = select.poll()

    def run(self) -> WatchReport:
        """Watch the run to its end."""
        self._listener.wake_synchronously()
        pidfd = os.pidfd_open(self._leader)
        try:
            for fd in (self._listener.fd, pidfd, *self._streams):
                self._poller.register(fd, select.POLLIN)
            if self._limits.control is not None:
                self._poller.register(self._limits.control, 0)
            while not self._seen.ended:
                self._wait(pidfd)
        finally:
            os.close(pidfd)
        return self._seen

    def _wait(self, pidfd: int) -> None:
        """Wait for events, and handle them."""
        left = self._deadline - time.monotonic()
        ready = self._poller.poll(min(left * 1000, _MOST_MILLISECONDS) if left > 0 else 0)
        # With many tasks that make ops all the time, an event may always be ready.
        if not ready or left < -_OVERDUE:
            self._seen.ended = self._ending
            return
        for fd, event in ready:
            self._handle(fd, event, pidfd)
            if self._seen.ended:
                return

    def _handle(self, fd: int, event: int, pidfd: int) -> None:
        """Handle one event."""
        if fd == self._listener.fd:
            if event & select.POLLIN:
                self._notified()
            elif event & select.POLLHUP:  # no task is under the filter any more
                self._seen.ended = Ending.EXITED
        elif fd in self._streams:
            if not self._streams[fd].drain(fd):
                self._poller.unregister(fd)
        elif fd == pidfd:
            self._poller.unregister(pidfd)
            self._leader_ended()
        elif event & (select.POLLHUP | select.POLLERR):
            raise AbandonedError

    def _notified(self) -> None:
        """Receive one notification and answer it, unless the run is to be crashed there."""
        call = self._listener.receive()
        if call is None:
            return
        listener, decoder, seen = self._listener, self._decoder, self._seen
        if self._clock is not None and self._clock.answer(call, listener):
            return
        seen.pids.add(call.tid)
        self._short.lift(call.tid)
        op = self._decoded(call)
        if decoder.refusal:
            refusal, decoder.refusal = decoder.refusal, 0
            listener.fail(call.ident, refusal)
            return
        if op is None:
            listener.let_go_on(call.ident)
            return
        seen.ops += 1
        answer = self._visit(op, seen.ops)
        if answer is GO:
            listener.let_go_on(call.ident)
        elif answer.crash:
            seen.ended, seen.stopped_at = Ending.CRASHED, call
        else:
            self._carry_out(answer, call)

    def _carry_out(self, answer: Answer, call: Call) -> None:
        """Carry out an answer other than to let the call go on."""
        if answer.signal:
            os.kill(self._leader, answer.signal)
            self._deadline = min(self._deadline, time.monotonic() + self._limits.grace)
            self._ending = Ending.CRASHED
        written = self._write_part(call, answer.part) if answer.part else 0
        if answer.errno:
            self._listener.fail(call.ident, answer.errno)
        elif answer.done or written:
            self._listener.succeed(call.ident, written)
        else:
            self._listener.let_go_on(call.ident)

    def _decoded(self, call: Call) -> Op | None:
        try:
            op = self._decoder.op(call)
        except OSError as error:
            # Memory that is not mapped fails the call with EFAULT anyway.
            if error.errno != errno.EFAULT and self._listener.is_valid(call.ident):
                why = f"a call's arguments could not be read: {error.strerror or error}"
                self._decoder.blind["", why] = None
            return None
        # If the task had died and its id been reused, what was read would be another task's.
        return op if op is not None and self._listener.is_valid(call.ident) else None

    def _write_part(self, call: Call, length: int) -> int:
        """Write the first bytes of a write; return how many, 0 if the task itself will, or is gone."""
        try:
            try:
                return write_prefix(self._decoder, call, length, goes_on=True)
            except ImmovableError:
                self._short.cut(self._decoder, call, length)
                return 0
        except OSError:
            if self._listener.is_valid(call.ident):
                raise
            return 0

    def _leader_ended(self) -> None:
        """Start the time that the rest of the tree has."""
        self._ending = Ending.LINGERING if self._ending is Ending.TIMEOUT else self._ending
        is_hurried = self._ending is Ending.CRASHED and _ending_signal(self._leader)
        rest = self._limits.linger * _HURRIED if is_hurried else self._limits.linger
        self._deadline = min(self._deadline, time.monotonic() + rest)


def _ending_signal(pid: int) -> int:
    """Return the signal that ended a process not yet waited for; 0 if it exited, or cannot be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().split()[-1]) & 0x7F  # as waitpid(2) gives it: proc_pid_stat(5)
    except (OSError, ValueError, IndexError):
        return 0
