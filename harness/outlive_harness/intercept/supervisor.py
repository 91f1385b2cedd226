"""The loop that every op of a run passes through.

A task that made a call of interest stands still before it. It goes on when it is answered; at a crash
point it is never answered, and from that moment nothing in the tree can change a file, however the kills
are scheduled.
"""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from outlive_harness.jobs.worker import AbandonedError
from outlive_harness.results.ops import Op

from .decode import Decoder
from .listener import Call, Listener
from .tail import Tail
from .tear import ImmovableError, ShortWrites, write_prefix

#: The part of its time that the rest of a tree has if a signal ended its leader.
_HURRIED = 0.2
#: Seconds past a deadline in which what is ready is still seen to.
_OVERDUE = 0.1
_MOST_MILLISECONDS = 2**31 - 1  # poll(2) takes a C int


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


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a run may take.

    Attributes:
        timeout: seconds of wall time for the run.
        grace: seconds that the run has left once a signal was sent to it.
        linger: seconds that the rest of the tree has after its leader ended; a fifth of that if the leader
            was sent a signal and that ended it, since the rest is to be killed in any case.
        control: a descriptor whose hang-up means that nobody waits for this run any more; None for none.
    """

    timeout: float
    grace: float = 5.0
    linger: float = 1.0
    control: int | None = None


@dataclass(slots=True)
class WatchReport:
    """What the supervisor saw of one run.

    Attributes:
        ended: why the loop ended: ``exited`` (nothing of the tree is left), ``crashed`` (the visitor said so
            and a task stands before its op, or the grace after a signal is over), ``timeout``, ``lingering``
            (the leader ended, others did not).
        ops: how many ops it made.
        stopped_at: the call that the run was crashed in front of.
        pids: thread ids of all tasks that made a call which was stopped.
    """

    ended: str = ""
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
) -> WatchReport:
    """Answer a run's notifications until it ends, a crash point is reached, or time is up.

    Args:
        listener: the seccomp listener.
        leader: process id of the run's first process.
        streams: descriptors to drain meanwhile, so that the program never blocks on a full pipe.
        decoder: gives the ops.
        visit: called with each op and its number (from 1) before it runs; says what becomes of it.
        limits: how long all that may take.

    Raises:
        AbandonedError: the ``control`` of the limits hung up.
    """
    return _Watch(Listener(listener), leader, streams, decoder, visit, limits).run()


class _Watch:
    """One run that is watched; the arguments are those of watch()."""

    def __init__(
        self,
        listener: Listener,
        leader: int,
        streams: Mapping[int, Tail],
        decoder: Decoder,
        visit: Callable[[Op, int], Answer],
        limits: Limits,
    ) -> None:
        self._listener, self._leader, self._streams = listener, leader, streams
        self._decoder, self._visit, self._limits = decoder, visit, limits
        self._seen = WatchReport()
        self._short = ShortWrites()
        self._deadline = time.monotonic() + limits.timeout
        self._ending = "timeout"
        self._poller = select.poll()

    def run(self) -> WatchReport:
        """Watch it to the end."""
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
        """Wait for the next events, and see to each."""
        left = self._deadline - time.monotonic()
        ready = self._poller.poll(min(left * 1000, _MOST_MILLISECONDS) if left > 0 else 0)
        # Many tasks that make ops all the time leave no moment in which nothing is ready.
        if not ready or left < -_OVERDUE:
            self._seen.ended = self._ending
            return
        for fd, event in ready:
            self._see_to(fd, event, pidfd)
            if self._seen.ended:
                return

    def _see_to(self, fd: int, event: int, pidfd: int) -> None:
        """See to one event."""
        if fd == self._listener.fd:
            if event & select.POLLIN:
                self._notified()
            elif event & select.POLLHUP:  # no task uses the filter any more
                self._seen.ended = "exited"
        elif fd in self._streams:
            if not self._streams[fd].drain(fd):
                self._poller.unregister(fd)
        elif fd == pidfd:
            self._poller.unregister(pidfd)
            self._leader_ended()
        elif event & (select.POLLHUP | select.POLLERR):
            raise AbandonedError

    def _notified(self) -> None:
        """Take one notification and answer it, unless the run is to be crashed there."""
        call = self._listener.receive()
        if call is None:
            return
        listener, decoder, seen = self._listener, self._decoder, self._seen
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
            seen.ended, seen.stopped_at = "crashed", call
        else:
            self._carry_out(answer, call)

    def _carry_out(self, answer: Answer, call: Call) -> None:
        """Do what an answer says beside letting the call go on."""
        if answer.signal:
            os.kill(self._leader, answer.signal)
            self._deadline = min(self._deadline, time.monotonic() + self._limits.grace)
            self._ending = "crashed"
        written = self._write_part(call, answer.part) if answer.part else 0
        if answer.errno:
            self._listener.fail(call.ident, answer.errno)
        elif answer.done or written:
            self._listener.succeed(call.ident, written)
        else:
            self._listener.let_go_on(call.ident)

    def _decoded(self, call: Call) -> Op | None:
        try:
            op = self._decoder.op(call.tid, call.number, call.audit, call.arguments)
        except OSError as error:
            # What the task itself could not read the kernel cannot either: the call fails with EFAULT.
            if error.errno != errno.EFAULT and self._listener.is_valid(call.ident):
                why = f"a call's arguments could not be read: {error.strerror or error}"
                self._decoder.blind["", why] = None
            return None
        # What was read may be another task's, had this one died and its id been given away.
        return op if op is not None and self._listener.is_valid(call.ident) else None

    def _write_part(self, call: Call, length: int) -> int:
        """Write the first bytes of a write; return how many, 0 if the task will itself, or is gone."""
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
        """Give the rest of the tree its time."""
        self._ending = "lingering" if self._ending == "timeout" else self._ending
        is_hurried = self._ending == "crashed" and _ending_signal(self._leader)
        rest = self._limits.linger * _HURRIED if is_hurried else self._limits.linger
        self._deadline = min(self._deadline, time.monotonic() + rest)


def _ending_signal(pid: int) -> int:
    """Return the signal that ended a process nobody has waited for yet; 0 if it exited, or cannot be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().split()[-1]) & 0x7F  # as waitpid(2) gives it: proc_pid_stat(5)
    except (OSError, ValueError, IndexError):
        return 0
