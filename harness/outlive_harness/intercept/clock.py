"""The clock on loan: for every process of a run, in any language, the wall clock stands still.

Each new image of a program stops at a call that it makes once, before any code of its own runs; there the
clock functions of its vDSO are replaced. Programs that make the system calls themselves are stopped at them
and answered. Waits until a moment of the wall clock are moved to the real one, since the kernel measures
them by its own clock. Monotonic clocks are left alone.

Sources: clock_gettime(2), futex(2), clock_nanosleep(2), timerfd_create(2), timer_settime(2), mq_send(3).
"""

from __future__ import annotations

import os
import re
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from outlive_harness import abi

from .clock_code import TAI, WALL, Readings
from .file_times import FileTimes
from .listener import Call, Listener
from .memory import read_memory, write_memory
from .task import signed
from .vdso import UnknownVdsoError, lend, readings

#: Calls that a new image makes before its own code runs: glibc asks where its heap ends (brk(0)) and sets up
#: its thread, as every libc does, and Go on arm64 asks for its processors.
STARTS = ("arch_prctl", "set_tid_address", "sched_getaffinity")
#: Flags of a call that make its time a moment: TIMER_ABSTIME, TFD_TIMER_ABSTIME, FUTEX_CLOCK_REALTIME.
ABSOLUTE, FUTEX_REALTIME = 1, 256
#: FUTEX_LOCK_PI always waits until a moment of the wall clock; FUTEX_PRIVATE_FLAG goes with any command.
FUTEX_LOCK_PI, FUTEX_PRIVATE, _FUTEX_COMMANDS = 6, 128, 127
#: FUTEX_WAIT_BITSET, FUTEX_WAIT_REQUEUE_PI and FUTEX_LOCK_PI2 wait until a moment; FUTEX_WAIT for a duration.
_FUTEX_UNTIL = (9, 11, 13)
_TIMESPEC = struct.Struct("=qq")
_CLOCK_ID = re.compile(rb"^clockid:\s*(\d+)", re.MULTILINE)
_TIMER = re.compile(rb"^ID: (\d+)$.*?^ClockID: (\d+)$", re.MULTILINE | re.DOTALL)
_SECOND = 10**9
_MOST = (1 << 63) - 1


class Wait(NamedTuple):
    """A call that waits until a moment.

    Attributes:
        pointer: the argument that points to the moment; if it is 0 the call waits for ever.
        is_wall: returns whether the moment is one of the wall clock.
        offset: where in the structure the moment stands: behind the interval, in an itimerspec.
    """

    pointer: int
    is_wall: Callable[[Call], bool]
    offset: int = 0


def _futex_is_wall(call: Call) -> bool:
    command = call.arguments[1] & _FUTEX_COMMANDS
    return command == FUTEX_LOCK_PI or (command in _FUTEX_UNTIL and bool(call.arguments[1] & FUTEX_REALTIME))


def _timerfd_is_wall(call: Call) -> bool:
    with open(f"/proc/{call.tid}/fdinfo/{signed(call.arguments[0])}", "rb") as info:
        found = _CLOCK_ID.search(info.read())
    return found is not None and int(found[1]) in (*WALL, TAI)


def _timer_is_wall(call: Call) -> bool:
    """Return whether a POSIX timer's clock is the wall clock (proc_pid_timers(5))."""
    with open(f"/proc/{call.tid}/timers", "rb") as timers:
        clocks = {int(timer): int(clock) for timer, clock in _TIMER.findall(timers.read())}
    return clocks.get(signed(call.arguments[0])) in (*WALL, TAI)


def _argument_is_wall(number: int, call: Call) -> bool:
    return call.arguments[number] & 0xFFFFFFFF in (*WALL, TAI)


#: The calls that wait until a moment; the filter stops them if it may be one of the wall clock.
WAITS = {
    "futex": Wait(3, _futex_is_wall),
    "clock_nanosleep": Wait(2, partial(_argument_is_wall, 0)),
    "timerfd_settime": Wait(2, _timerfd_is_wall, offset=16),
    "timer_settime": Wait(2, _timer_is_wall, offset=16),
    "mq_timedsend": Wait(4, lambda _call: True),
    "mq_timedreceive": Wait(4, lambda _call: True),
    "futex_waitv": Wait(3, partial(_argument_is_wall, 4)),
    "futex_wait": Wait(4, partial(_argument_is_wall, 5)),
}


class LentClock:
    """The wall clock of one run.

    Args:
        instant: where it stands, in nanoseconds since 1970.
        file_times: the times that files show; None for their own.

    Attributes:
        unlent: why it was not lent to a program, and to which, as an ordered set.
    """

    def __init__(self, instant: int, file_times: FileTimes | None = None) -> None:
        self._instant = instant
        self._shown: Readings = readings(instant)
        self.unlent: dict[str, None] = {}
        table = abi.native()
        self._audit, numbers = (table.audit, table.numbers) if table is not None else (0, {})
        answers: dict[str, Callable[[Call, Listener], None]] = {
            **dict.fromkeys((*STARTS, "brk"), self._started),
            **{name: partial(self._until, wait) for name, wait in WAITS.items()},
            "clock_gettime": self._clock_gettime,
            "gettimeofday": self._gettimeofday,
            "time": self._time,
        }
        self._answers = {numbers[name]: do for name, do in answers.items() if name in numbers}
        self._answers |= file_times.answers if file_times is not None else {}

    def answer(self, call: Call, listener: Listener) -> bool:
        """Answer a stopped call that has to do with the clock; return whether it was one."""
        if call.audit != self._audit:
            self._note(call, listener, f" to {_program(call.tid)}: it makes 32-bit calls")
            return False
        do = self._answers.get(call.number)
        if do is None:
            return False
        try:
            do(call, listener)
        except OSError as error:
            self._forgo(call, listener, f" to {_program(call.tid)}: {error.strerror}")
        except UnknownVdsoError as error:  # it concerns every program
            self._forgo(call, listener, f": {error}")
        return True

    def _forgo(self, call: Call, listener: Listener, why: str) -> None:
        """Let a call show the machine's own clock."""
        self._note(call, listener, why)
        listener.let_go_on(call.ident)

    def _note(self, call: Call, listener: Listener, why: str) -> None:
        """Note why a program sees the machine's own clock, unless it is gone meanwhile."""
        if listener.is_valid(call.ident):
            self.unlent[f"the clock was not lent{why}"] = None

    def serve(self, listener: Listener) -> None:
        """Receive and answer one call of a run that is not watched otherwise."""
        call = listener.receive()
        if call is not None and not self.answer(call, listener):
            listener.let_go_on(call.ident)

    def _started(self, call: Call, listener: Listener) -> None:
        lend(call.tid, self._instant, partial(listener.is_valid, call.ident))
        listener.let_go_on(call.ident)

    # -- readings ------------------------------------------------------------------------------------

    def _clock_gettime(self, call: Call, listener: Listener) -> None:
        shown, clock = self._shown, call.arguments[0] & 0xFFFFFFFF
        seconds = shown.tai if clock == TAI else shown.seconds
        listener.fill(call, {call.arguments[1]: _TIMESPEC.pack(seconds, shown.nanoseconds)})

    def _gettimeofday(self, call: Call, listener: Listener) -> None:
        now, zone = call.arguments[:2]
        pieces = {now: _TIMESPEC.pack(self._shown.seconds, self._shown.microseconds)} if now else {}
        listener.fill(call, pieces | ({zone: bytes(8)} if zone else {}))

    def _time(self, call: Call, listener: Listener) -> None:
        seconds, at = self._shown.seconds, call.arguments[0]
        listener.fill(call, {at: seconds.to_bytes(8, "little")} if at else {}, seconds)

    # -- waits ---------------------------------------------------------------------------------------

    def _until(self, wait: Wait, call: Call, listener: Listener) -> None:
        """Move the moment until which a call waits from the lent clock to the kernel's, in its memory.

        The program may wait again until the same moment, or add to it: one that is nearer to the real time
        than to the lent one was moved before, or comes from elsewhere, and is left.
        """
        at = call.arguments[wait.pointer]
        if at and wait.is_wall(call):
            at += wait.offset
            seconds, rest = _TIMESPEC.unpack(read_memory(call.tid, at, _TIMESPEC.size).ljust(16, b"\0"))
            moment, now = seconds * _SECOND + rest, time.time_ns()
            is_valid = 0 <= rest < _SECOND and moment > 0  # 0 disarms a timer; else the kernel refuses it
            if is_valid and abs(moment - self._instant) <= abs(moment - now):
                moved = min(max(moment - self._instant + now, 1), _MOST * _SECOND)
                data = _TIMESPEC.pack(*divmod(moved, _SECOND))
                write_memory(call.tid, {at: data}, partial(listener.is_valid, call.ident))
        listener.let_go_on(call.ident)


def _program(tid: int) -> str:
    """Return the program that a task runs: its path, or the name alone if only its owner may see that."""
    try:
        return os.readlink(f"/proc/{tid}/exe")
    except OSError:
        try:
            with open(f"/proc/{tid}/comm") as name:
                return name.read().rstrip("\n")
        except OSError:
            return "a program"
