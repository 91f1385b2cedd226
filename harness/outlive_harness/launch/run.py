"""One run of a program, from its start until no process of it is left."""

from __future__ import annotations

import errno
import os
import resource
import select
import shutil
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from outlive_harness.intercept.clock import LentClock
from outlive_harness.intercept.decode import Decoder
from outlive_harness.intercept.listener import Listener
from outlive_harness.intercept.supervisor import DONE, GO, Answer, Ending, Limits, WatchReport, watch
from outlive_harness.intercept.tail import Tail
from outlive_harness.intercept.tear import write_prefix
from outlive_harness.jobs.worker import AbandonedError
from outlive_harness.results.ops import Op

from .exec import Child, InterceptionRefusedError, start
from .last_words import last_words, told
from .options import Host, Program, RunOptions, Visit
from .reap import kill_tree

#: Seconds that background processes have to end after the program itself.
LINGER = 1.0


@dataclass(slots=True)
class FinishedRun:
    """The result of a run.

    Attributes:
        ended: ``EXITED``, ``CRASHED`` (killed as requested), or ``TIMEOUT``.
        code: its exit status; a negative number is the signal that ended it.
        ops: the number of its ops on the box; 0 if it was not intercepted.
        seconds: wall time.
        stdout: the end of its standard output.
        stderr: the end of its standard error.
        is_alone: whether the first thread of its first process made all intercepted calls.
        lingering: whether it left processes running, which were killed.
        acks: what the lines of its standard output acknowledged.
        said: the number of acknowledgements before each op, if requested.
        outside: paths outside its box that it wrote.
        blind: (path, or "" for the whole box; what was not seen there).
        reads: paths outside its box that it opened or ran, if requested.
        looked: paths in its box that it opened for reading, tried to, or asked for, if requested.
        refused: what it was not allowed to do outside its box, as "was not allowed to change ..."; "" for
            nothing.
        effects: addresses outside its processes that it connected or sent to, with the number of calls, if
            requested.
        crossing: a rename or link that failed because its two names are on different file systems; "" for
            none.
        unlent: why the clock was not lent to it, or to which of its programs; empty if it was, or was not to
            be.
        cpu_seconds: processor time of its processes and of this one; without those that a zygote waited for.
        idle_seconds: time that all processors of the machine together were idle meanwhile, if what the run
            reads was requested.
        memory: bytes of memory that the largest process used of all that this one has run (getrusage(2)).
    """

    ended: Ending
    code: int
    ops: int
    seconds: float
    stdout: str
    stderr: str
    is_alone: bool = False
    lingering: bool = False
    acks: list[str] = field(default_factory=list)
    said: list[int] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    blind: list[tuple[str, str]] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)
    refused: str = ""
    effects: dict[str, int] = field(default_factory=dict)
    crossing: str = ""
    unlent: list[str] = field(default_factory=list)
    cpu_seconds: float = 0.0
    idle_seconds: float = 0.0
    memory: int = 0

    def failure(self) -> str:
        """Return how it failed, in a few words: its status and its last words; "" if it did not."""
        if self.refused:
            return self.refused
        if self.ended is Ending.TIMEOUT:
            how = f"did not end within {self.seconds:.1f} s"
        elif self.code:
            how = f"was ended by signal {-self.code}" if self.code < 0 else f"exited with {self.code}"
        else:
            return ""
        last = last_words(self.stderr, self.stdout)
        return f"{how}: {last}" if last else how

    @property
    def told(self) -> str:
        """The end of its standard error, or else of its standard output."""
        return told(self.stderr, self.stdout)

    def hindered(self) -> str:
        """Return how an intercepted run failed, if the harness may be the reason; else "".

        Either it was refused something, or it reports an interrupted call: a signal handler interrupts a call
        that waits for the supervisor, and never one on a local file system.
        """
        if self.refused or not self.failure():
            return self.refused
        is_interrupted = os.strerror(errno.EINTR) in self.stderr
        return (
            f"{self.failure()}, which may come of being watched: let its timers fire less often"
            if is_interrupted
            else ""
        )


def run(program: Program, options: RunOptions, host: Host | None = None) -> FinishedRun:
    """Run a program to its end or its crash point; afterwards no process of it is alive.

    Raises:
        InterceptionRefusedError: the filter could not be installed.
        OSError: the program could not be executed.
        AbandonedError: the host's ``control`` hung up; the run was killed.
        ZygoteError: the zygote is gone.
        SurvivorError: a process outlived SIGKILL.
    """
    host = host or Host()
    begun, worked, idle = time.monotonic(), _cpu_seconds(), _idle_seconds(options)
    child, clock = _started(program, options)
    out, err = Tail(program.acks, options.keep), Tail()
    streams = {child.stdout: out, child.stderr: err}
    decoder = _decoder(program, options, host) if options.visit else None
    said: list[int] = []
    seen = WatchReport()
    try:
        if options.visit is not None and decoder is not None and child.listener is not None:
            visit = _wrapped(options.visit, program, options, (out, child.stdout, said))
            limits = Limits(options.timeout, options.grace, LINGER, host.control)
            seen = watch(child.listener, child.pid, streams, decoder, visit, limits, clock)
            if options.tear and seen.stopped_at:
                write_prefix(decoder, seen.stopped_at, options.tear)
        else:
            seen = _wait(child, streams, options, host.control, clock)
    finally:
        status = kill_tree(child.pid, seen.pids, spared=host.spared, reap=child.reap)
        if decoder is not None:
            decoder.close()
            if not (status == 0 and seen.ended is Ending.EXITED):
                decoder.made.end()
                host.left.take(decoder.made)
        for fd, tail in streams.items():
            tail.drain(fd)
        child.close()
    if status is None and seen.ended in (Ending.EXITED, Ending.LINGERING):
        why = "its exit status is lost: another part of this process waited for it"
        raise ChildProcessError(errno.ECHILD, why, program.argv[0])
    ran = _finished(seen, status, out, err)
    ran.seconds, ran.is_alone, ran.said = time.monotonic() - begun, seen.pids == {child.pid}, said
    ran.unlent = list(clock.unlent) if clock is not None else []
    ran.cpu_seconds, ran.idle_seconds = _cpu_seconds() - worked, _idle_seconds(options) - idle
    ran.memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
    if decoder is not None:
        _take_over(ran, decoder)
    return ran


def _cpu_seconds() -> float:
    """Return the processor time of this process and of all that it has waited for."""
    several = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in several)


def _idle_seconds(options: RunOptions) -> float:
    """Return the time that the machine's processors were idle since it started; 0 if nobody asks for it."""
    if not options.reads:  # it takes a millisecond on a machine with many processors
        return 0.0
    times = psutil.cpu_times()
    return float(times.idle + getattr(times, "iowait", 0.0))


def _finished(seen: WatchReport, status: int | None, out: Tail, err: Tail) -> FinishedRun:
    assert seen.ended is not None, "the loop ends only once it is"
    return FinishedRun(
        Ending.EXITED if seen.ended is Ending.LINGERING else seen.ended,
        os.waitstatus_to_exitcode(status) if status is not None else 0,
        seen.ops,
        0.0,
        out.text(),
        err.text(),
        lingering=seen.ended is Ending.LINGERING,
        acks=out.matches,
    )


def _started(program: Program, options: RunOptions) -> tuple[Child, LentClock | None]:
    """Start a program; return it with the clock that is lent to it, None for the machine's own.

    A run that is not watched needs no interception but for its clock: where that is refused, it has none.
    """
    is_watched = options.visit is not None
    if program.instant is None:
        return _start(program, options, freezes=False), None
    # A run whose looks are noted is never compared with another one.
    clock = LentClock(program.instant, None if options.looks else program.file_times)
    try:
        return _start(program, options, freezes=True), clock
    except InterceptionRefusedError as error:
        if is_watched:
            raise
        clock.unlent[f"the clock is not lent: calls cannot be intercepted here: {error.strerror}"] = None
        return _start(program, options, freezes=False), clock


def _start(program: Program, options: RunOptions, *, freezes: bool) -> Child:
    is_watched = options.visit is not None
    if program.zygote is not None:
        return program.zygote.start(cwd=program.cwd, intercept=is_watched)
    return start(
        program.argv,
        cwd=program.cwd,
        env=program.env,
        intercept=is_watched,
        reads=options.reads,
        looks=options.looks,
        freezes=freezes,
    )


def _decoder(program: Program, options: RunOptions, host: Host) -> Decoder:
    decoder = Decoder(
        os.fsencode(os.path.realpath(program.box)),
        data=options.data,
        places=options.places,
        reads=options.reads,
        guarded=[os.fsencode(name) for path in program.guarded for name in _names(path)],
        tmp=program.tmp,
        spared=host.spared,
    )
    if decoder.reads is not None:  # the first exec is not intercepted
        name = program.argv[0]
        found = (
            str(program.cwd / name) if os.sep in name else shutil.which(name, path=program.env.get("PATH"))
        )
        decoder.reads[found or name] = None
    return decoder


def _wrapped(
    visit: Visit, program: Program, options: RunOptions, listening: tuple[Tail, int, list[int]]
) -> Visit:
    """Return the visitor of each op, which also counts acknowledgements and skips syncs by the options."""
    if options.promises:
        visit = _listening(visit, *listening)
    return visit if options.syncs else _without_syncs(visit, program.box)


def _take_over(ran: FinishedRun, decoder: Decoder) -> None:
    """Copy what the decoder saw of a run into its result."""
    ran.outside, ran.blind = decoder.left_outside(), list(decoder.blind)
    ran.reads, ran.looked = list(decoder.reads or ()), list(decoder.looked)
    ran.refused = next(iter(decoder.refused), "")
    ran.effects = decoder.effects
    ran.crossing = next(iter(decoder.crossings), "")


def _names(path: str) -> tuple[str, str]:
    """Return the real paths of a file and of its name, which may be a link: neither must change."""
    directory, name = os.path.split(path)
    return os.path.realpath(path), os.path.join(os.path.realpath(directory), name)


def _listening(visit: Visit, out: Tail, stream: int, said: list[int]) -> Visit:
    """Count the acknowledgements before each op."""

    def visiting(op: Op, number: int) -> Answer:
        out.drain(stream)
        said.append(len(out.matches))
        return visit(op, number)

    return visiting


def _without_syncs(visit: Visit, box: Path) -> Visit:
    """Skip syncs: no process sees their effect, and only crash states of a power cut depend on it."""

    def visiting(op: Op, number: int) -> Answer:
        answer = visit(op, number)
        is_sync = op.traits.syncs and not op.traits.syncs_range
        if answer is GO and is_sync and _can_be_synced(op, box):
            return DONE
        return answer

    return visiting


def _can_be_synced(op: Op, box: Path) -> bool:
    """Return whether a sync succeeds: not by O_PATH (open(2)), nor of a pipe or a socket (fsync(2))."""
    if op.flags & os.O_PATH:
        return False
    try:
        mode = os.lstat(box / op.path).st_mode
    except OSError:  # unlinked: the kernel decides
        return False
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _wait(  # noqa: C901 - one loop over three kinds of events
    child: Child,
    streams: dict[int, Tail],
    options: RunOptions,
    control: int | None,
    clock: LentClock | None,
) -> WatchReport:
    """Wait for a run whose ops are not stopped; a run of several processes ends with its leader."""
    poller = select.poll()
    handlers: dict[int, Callable[[int], bool]] = {
        fd: partial(_drained, tail, fd) for fd, tail in streams.items()
    }
    if clock is not None and child.listener is not None:
        listener = Listener(child.listener)
        listener.wake_synchronously()
        handlers[child.listener] = partial(_served, clock, listener)
    for fd in handlers:
        poller.register(fd, select.POLLIN)
    if control is not None:
        handlers[control] = _hung_up
        poller.register(control, 0)
    pidfd = os.pidfd_open(child.pid) if hasattr(os, "pidfd_open") else None
    if pidfd is not None:
        poller.register(pidfd, select.POLLIN)
    timeout, kill_after = options.timeout, options.kill_after
    limit = timeout if kill_after is None else min(timeout, kill_after)
    deadline = time.monotonic() + limit
    try:
        while True:
            left = max(0.0, deadline - time.monotonic())
            ready = poller.poll(min(left, 2e6 if pidfd is not None else 0.005) * 1000)  # a C int
            for fd, event in ready:
                if fd in handlers and not handlers[fd](event):
                    poller.unregister(fd)
            if pidfd in dict(ready) or (pidfd is None and _is_zombie(child.pid)):
                return WatchReport(Ending.EXITED)
            if time.monotonic() >= deadline:
                return WatchReport(Ending.TIMEOUT if limit == timeout else Ending.CRASHED)
    finally:
        if pidfd is not None:
            os.close(pidfd)


def _drained(tail: Tail, fd: int, _event: int) -> bool:
    """Drain a stream; return whether more may come."""
    return tail.drain(fd)


def _served(clock: LentClock, listener: Listener, event: int) -> bool:
    """Answer a call that has to do with the clock; return whether more may come."""
    if event & select.POLLIN:
        clock.serve(listener)
    return bool(event & select.POLLIN)


def _hung_up(event: int) -> bool:
    """Abandon the run if nobody wants its result any more."""
    if event & (select.POLLHUP | select.POLLERR):
        raise AbandonedError
    return True


def _is_zombie(pid: int) -> bool:
    return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
