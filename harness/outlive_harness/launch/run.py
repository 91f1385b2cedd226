"""One run of a program, from its start until nothing of it is left."""

from __future__ import annotations

import errno
import os
import select
import shutil
import stat
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from outlive_harness.intercept.decode import Decoder
from outlive_harness.intercept.lookup import Keeper
from outlive_harness.intercept.made import Made
from outlive_harness.intercept.supervisor import DONE, GO, AbandonedError, Answer, Tail, Watched, watch
from outlive_harness.intercept.tear import write_prefix
from outlive_harness.trace import Op

from .exec import Child, start
from .last_words import last_words, told
from .reap import kill_tree
from .zygote import Zygote

_SPARED = frozenset({"fsync", "fdatasync", "sync", "syncfs"})
#: Seconds that background processes have to end after the program itself has.
LINGER = 1.0


@dataclass(slots=True)
class Ran:
    """How a run went.

    Attributes:
        ended: ``exited``; ``crashed``, by us, where it was asked for; or ``timeout``.
        code: its exit status; a negative number is the signal that ended it.
        ops: how many ops it made on its box; 0 where it was not intercepted.
        seconds: wall time.
        is_alone: whether the first thread of its first process made all calls that were intercepted.
        lingering: processes that it left running, and that were killed.
        acks: what lines of its standard output acknowledged.
        said: how many of them were there before each op, where that was asked for.
        reads: paths outside its box that it opened or ran, where that was asked for.
        looked: paths in its box that it opened to read, tried to, or asked for, where that was wanted.
        refused: what it was not let do outside its box, as "was not let change ..."; "" if it tried nothing.
        effects: addresses outside of its processes that it connected or sent to, with the number of calls,
            where that was asked for.
        crossing: a rename or link that failed since its two names are on different file systems; "" if none.
    """

    ended: str
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

    def failure(self) -> str:
        """Say in a few words how it failed: its status and its last words; "" if it did not."""
        if self.refused:
            return self.refused
        if self.ended == "timeout":
            how = f"did not end within {self.seconds:.1f} s"
        elif self.code:
            how = f"was ended by signal {-self.code}" if self.code < 0 else f"exited with {self.code}"
        else:
            return ""
        last = last_words(self.stderr, self.stdout)
        return f"{how}: {last}" if last else how

    @property
    def told(self) -> str:
        """What it said at its end: on standard error, or, if nothing, on standard output."""
        return told(self.stderr, self.stdout)

    def hindered(self) -> str:
        """Say how a run that was intercepted failed, where the harness may have failed it; else "".

        It was not let do something, or it speaks of an interrupted call: the kernel interrupts one that waits
        to be seen when a handler runs, as no local file system does.
        """
        if self.refused or not self.failure():
            return self.refused
        is_interrupted = os.strerror(errno.EINTR) in self.stderr
        return f"{self.failure()}, which may come of being watched" if is_interrupted else ""


def run(  # noqa: PLR0913 - one call says all of one run
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    box: Path,
    timeout: float,
    visit: Callable[[Op, int], Answer] | None = None,
    data: bool | Keeper = False,
    places: bool = True,
    reads: bool = False,
    looks: bool = False,
    tear: int | None = None,
    syncs: bool = True,
    grace: float = 5.0,
    kill_after: float | None = None,
    acks: str = "",
    promises: bool = False,
    control: int | None = None,
    zygote: Zygote | None = None,
    guarded: Collection[str] = (),
    tmp: str = "",
    spared: Collection[int] = (),
    left: Made | None = None,
) -> Ran:
    """Run a program to its end, or to where it is to crash; afterwards nothing of it is alive.

    Args:
        argv: the program and its arguments.
        cwd: where it runs.
        env: its whole environment.
        box: the directory whose ops are counted.
        timeout: seconds until it is killed as hung.
        visit: sees each op before it runs, and says what becomes of it; without it the run is not
            intercepted.
        data: whether ops carry the bytes written, and all else that the model of the disk needs;
            where the bytes are to be kept, if not in the ops themselves.
        places: whether writes carry where in the file they go.
        reads: whether to tell what it reads.
        looks: whether to tell what it only asks for as well: is it there?
        tear: where the run is crashed in front of a write, write so many bytes of it first.
        syncs: whether calls are run that only make data durable; else they are told that they succeeded.
        grace: seconds that the run has left once a signal was sent to it.
        kill_after: seconds of wall time after which a run that is not intercepted is crashed.
        acks: pattern of the lines of standard output that acknowledge something.
        promises: whether to tell how many of them came before each op.
        control: a descriptor whose hang-up abandons the run.
        zygote: forks the program, where it is not to be executed.
        guarded: files outside its box that it must not change.
        tmp: a directory of its box that is another file system to it: see Lookup.
        spared: process ids of children of this process that are no part of the run.
        left: takes the temporary files that the run has made outside its box, and may not have removed: it
            did not come to its end, it failed, or processes of it were killed after that.

    Raises:
        InterceptionRefusedError: the filter could not be installed.
        OSError: the program could not be executed.
        AbandonedError: *control* hung up; the run was killed.
        ZygoteError: the zygote is gone.
        SurvivorError: a process outlived SIGKILL.
    """
    begun = time.monotonic()
    if zygote is not None:
        child = zygote.start(cwd=cwd, intercept=visit is not None)
    else:
        child = start(argv, cwd=cwd, env=env, intercept=visit is not None, reads=reads, looks=looks)
    streams = {child.stdout: Tail(acks), child.stderr: Tail()}
    out, err = streams.values()
    decoder = (
        Decoder(
            os.fsencode(os.path.realpath(box)),
            data=data,
            places=places,
            reads=reads,
            guarded=[os.fsencode(name) for path in guarded for name in _names(path)],
            tmp=tmp,
            spared=spared,
        )
        if visit
        else None
    )
    _note_program(decoder, argv, env, cwd)
    said: list[int] = []
    if visit is not None and promises:
        visit = _listening(visit, out, child.stdout, said)
    if visit is not None and not syncs:
        visit = _without_syncs(visit, box)
    seen = Watched()
    status = None
    try:
        if visit is not None and decoder is not None and child.listener is not None:
            seen = watch(
                child.listener,
                child.pid,
                streams,
                decoder,
                visit,
                timeout=timeout,
                grace=grace,
                linger=LINGER,
                control=control,
            )
            if tear and seen.struck:
                write_prefix(decoder, seen.struck, tear)
        else:
            seen = _wait(child, streams, timeout=timeout, kill_after=kill_after, control=control)
    finally:
        status = kill_tree(child.pid, seen.pids, spared=spared, reap=child.reap)
        if decoder is not None:
            decoder.close()
            if left is not None and not (status == 0 and seen.ended == "exited"):
                decoder.made.end()
                left.take(decoder.made)
        for fd, tail in streams.items():
            tail.drain(fd)
        child.close()
    if status is None and seen.ended in ("exited", "lingering"):
        raise ChildProcessError(errno.ECHILD, "its exit status is lost: somebody else waited for it", argv[0])
    code = os.waitstatus_to_exitcode(status) if status is not None else 0
    return Ran(
        "exited" if seen.ended == "lingering" else seen.ended,
        code,
        seen.ops,
        time.monotonic() - begun,
        out.text(),
        err.text(),
        is_alone=seen.pids == {child.pid},
        lingering=seen.ended == "lingering",
        acks=out.matches,
        said=said,
        outside=decoder.left_outside() if decoder else [],
        blind=list(decoder.blind) if decoder else [],
        reads=list(decoder.reads or ()) if decoder else [],
        looked=list(decoder.looked) if decoder else [],
        refused=next(iter(decoder.refused), "") if decoder else "",
        effects=decoder.effects if decoder else {},
        crossing=next(iter(decoder.crossings), "") if decoder else "",
    )


def _note_program(decoder: Decoder | None, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
    """Note what is executed first: that is over before the run is watched."""
    if decoder is not None and decoder.reads is not None:
        program = shutil.which(argv[0], path=env.get("PATH")) if os.sep not in argv[0] else str(cwd / argv[0])
        decoder.reads[program or argv[0]] = None


def _names(path: str) -> tuple[str, str]:
    """Return the real path of a file and that of its name, a link perhaps: another file is put there, too."""
    directory, name = os.path.split(path)
    return os.path.realpath(path), os.path.join(os.path.realpath(directory), name)


def _listening(
    visit: Callable[[Op, int], Answer], out: Tail, stream: int, said: list[int]
) -> Callable[[Op, int], Answer]:
    """Note what was acknowledged before each op."""

    def visiting(op: Op, number: int) -> Answer:
        out.drain(stream)
        said.append(len(out.matches))
        return visit(op, number)

    return visiting


def _without_syncs(visit: Callable[[Op, int], Answer], box: Path) -> Callable[[Op, int], Answer]:
    """Spare the disk what no process can see: that changes no crash state but those of a power cut."""

    def visiting(op: Op, number: int) -> Answer:
        answer = visit(op, number)
        if answer is GO and op.kind in _SPARED and _can_be_synced(op, box):
            return DONE
        return answer

    return visiting


def _can_be_synced(op: Op, box: Path) -> bool:
    """Tell whether a sync succeeds: not through O_PATH (open(2)), nor of a pipe or a socket (fsync(2))."""
    if op.flags & os.O_PATH:
        return False
    try:
        mode = os.lstat(box / op.path).st_mode
    except OSError:  # it was unlinked, and the kernel knows: then the call is run
        return False
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _wait(  # noqa: C901 - one loop over three kinds of events
    child: Child, streams: dict[int, Tail], *, timeout: float, kill_after: float | None, control: int | None
) -> Watched:
    """Wait for a run that is not intercepted; a run of several processes ends with its leader."""
    poller = select.poll()
    for fd in streams:
        poller.register(fd, select.POLLIN)
    if control is not None:
        poller.register(control, 0)
    pidfd = os.pidfd_open(child.pid) if hasattr(os, "pidfd_open") else None
    if pidfd is not None:
        poller.register(pidfd, select.POLLIN)
    limit = timeout if kill_after is None else min(timeout, kill_after)
    deadline = time.monotonic() + limit
    try:
        while True:
            left = max(0.0, deadline - time.monotonic())
            ready = poller.poll(min(left, 2e6 if pidfd is not None else 0.005) * 1000)  # a C int
            for fd, event in ready:
                if fd in streams:
                    if not streams[fd].drain(fd):
                        poller.unregister(fd)
                elif fd == control and event & (select.POLLHUP | select.POLLERR):
                    raise AbandonedError
            if pidfd in dict(ready) or (pidfd is None and _is_zombie(child.pid)):
                return Watched("exited")
            if time.monotonic() >= deadline:
                return Watched("timeout" if limit == timeout else "crashed")
    finally:
        if pidfd is not None:
            os.close(pidfd)


def _is_zombie(pid: int) -> bool:
    return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
