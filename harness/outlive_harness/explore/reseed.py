"""Golden runs more, by exec, beside trials in a zygote: those all have the zygote's hash seed.

Where no seed is given each new process draws its own (PYTHONHASHSEED), and what depends on the order of a set
comes out otherwise in some of them. A pipeline of which that is known is not judged.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from outlive_harness.intercept.supervisor import GO
from outlive_harness.judge import describe_difference, first_difference

from .golden import Record
from .runner import BoxError, Runner
from .tapes import Tapes

#: Runs where they are short, and seconds after which no further one is begun.
_MOST, _SHORT = 3, 0.1


def has_own_seed(record: Record) -> bool:
    """Tell whether each new process of a subject has a hash seed of its own, and trials have not."""
    seed = record.subject.environment(record.place).get("PYTHONHASHSEED", "random")
    return record.preload is not None and seed in ("", "random")


@dataclass(frozen=True, slots=True)
class Reseeded:
    """What a worker is asked to do.

    Attributes:
        place: directory of the record.
    """

    place: Path

    def carry_out(self, tapes: Tapes, record: Record) -> str:
        """Run again from the beginning; say how it comes out otherwise, "" if it does not."""
        begun, runner = time.monotonic(), tapes.runner
        try:
            runner.cool()
            found = _differs(runner, record)
            for _ in range(_MOST - 1):
                if found or time.monotonic() - begun > _SHORT:
                    break
                found = _differs(runner, record)
        except (BoxError, OSError):  # whatever it is, the trials come upon it too
            runner.empty()
            return ""
        return found


def _differs(runner: Runner, record: Record) -> str:
    subject = record.subject
    runner.fill(record.place / "template")
    ran = runner.run(subject, timeout=record.limit, visit=lambda _op, _number: GO, syncs=False)
    if ran.failure():
        runner.expect_room(record.final, ran.told)
        return f"nondeterministic: a further run with no fault {ran.failure()}"
    after = runner.look(subject)
    path = first_difference(record.final, after, subject.is_output)
    if path is None:
        return ""
    runner.expect_room(record.final)
    detail = describe_difference(path, record.final, after, record.place / "golden", runner.box)
    return f"nondeterministic: a further run with no fault differs in {path}\n{detail}"
