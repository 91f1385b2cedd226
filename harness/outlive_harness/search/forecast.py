"""What trials will take, as far as the golden run tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.record import Record
from outlive_harness.results.plan import Plan

#: Seconds from which on trials take long: then their states are judged before any of them begins.
LONG = 30.0
#: A run that keeps no more of a processor busy, and leaves so much of the machine idle, mostly waits.
_BUSY, _IDLE = 0.5, 0.5
#: The most workers for a processor, and in all.
_MOST, _MOST_OF_ALL = 5, 40


@dataclass(frozen=True, slots=True)
class Forecast:
    """What trials will take.

    Attributes:
        faults: the faults, in the order of their turns.
        points: the number of crash points, those that stand for others counted with these.
        costs: the seconds of each trial on one worker, in their order.
        on_outputs: for each trial, whether it is at an op on an output.
        until: wall-clock time after which no trial starts; None for no limit.
        busy: how many processors one run keeps busy on average.
        idle: the share of the machine's processors that is idle while one run is under way.
        memory: bytes of memory that its largest process uses, at most.
    """

    faults: tuple[str, ...]
    points: int
    costs: tuple[float, ...]
    on_outputs: tuple[bool, ...]
    until: float | None = None
    busy: float = 1.0
    idle: float = 0.0
    memory: int = 0

    def seconds(self, workers: int, processors: int) -> float:
        """Return the seconds that all trials take."""
        return sum(self.costs) / self._at_once(workers, processors)

    def _at_once(self, workers: int, processors: int) -> float:
        """Return how many trials make progress at a time."""
        return min(workers, max(1.0, processors / max(self.busy, 1e-9)))

    def workers(self, processors: int, memory: int) -> int:
        """Return how many workers keep the processors busy: more than these if runs mostly wait.

        Args:
            processors: the number of processors.
            memory: bytes of memory that are available.
        """
        if self.busy > _BUSY or self.idle < _IDLE:  # a run that waits for a processor does not idle
            return processors
        wanted = min(
            round(processors / max(self.busy, 1e-9)), _MOST * processors, _MOST_OF_ALL, len(self.costs)
        )
        room = memory // 2 // max(self.memory, 1 << 20)
        return max(processors, min(wanted, room))

    def within(self, seconds: float, workers: int, processors: int) -> int:
        """Return how many trials so many seconds are enough for."""
        room = seconds * self._at_once(workers, processors)
        for number, cost in enumerate(self.costs):
            room -= cost
            if room < 0:
                return number
        return len(self.costs)


def costs(record: Record, trials: Sequence[tuple[Plan, str, bool]]) -> list[float]:
    """Return the seconds that each trial takes on one worker.

    A run up to a crash point takes half of the golden run on average, and a recovery all of it. What is taken
    from a recording needs no run, and a state that was recovered from no recovery.

    Args:
        record: the golden run.
        trials: in their order: the plan, a digest of the files that it leaves ("" if it is not known), and
            whether torn writes are taken from a recording.
    """
    known: set[str] = set()
    found = []
    for plan, state, is_recorded in trials:
        fault = FAULTS[plan[-1].fault]
        needs_run = not (fault.cuts_power or (is_recorded and fault.is_recorded))
        found.append(record.seconds * (0.5 * needs_run + (state not in known)))
        known |= {state} - {""}
    return found
