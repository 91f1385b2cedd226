"""Golden runs more, by exec, beside trials in a zygote: those all have the zygote's hash seed.

Where no seed is given each new process draws its own (PYTHONHASHSEED), and what depends on the order of a set
comes out otherwise in some of them. A pipeline of which that is known is not judged.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from outlive_harness.golden.record import Record
from outlive_harness.intercept.supervisor import GO
from outlive_harness.jobs.tasks import Task
from outlive_harness.judge.trees import describe_difference, first_difference
from outlive_harness.launch.options import RunOptions
from outlive_harness.world.box import BoxError
from outlive_harness.world.runner import Runner

from .bench import Bench

#: Runs where they are short, and seconds after which no further one is begun.
_MOST, _SHORT = 3, 0.1


def has_own_seed(record: Record) -> bool:
    """Return whether each new process of a subject has a hash seed of its own, and trials have not."""
    seed = record.spec.environment(record.place).get("PYTHONHASHSEED", "random")
    return record.preload is not None and seed in ("", "random")


@dataclass(frozen=True, slots=True)
class HashSeedCheck(Task[str]):
    """Golden runs by exec.

    Attributes:
        place: directory of the record.
    """

    place: Path

    def run(self, bench: Bench) -> str:
        """Run again from the beginning; return how it comes out otherwise, "" if it does not."""
        begun, runner, record = time.monotonic(), bench.runner, bench.record(self.place)
        try:
            runner.cool()
            found = _differs(runner, record)
            for _ in range(_MOST - 1):
                if found or time.monotonic() - begun > _SHORT:
                    break
                found = _differs(runner, record)
        except (BoxError, OSError):  # whatever it is, the trials come upon it too
            runner.box.empty()
            return ""
        return found


def _differs(runner: Runner, record: Record) -> str:
    spec = record.spec
    runner.box.fill(record.template)
    ran = runner.run(spec, RunOptions(timeout=record.limit, visit=lambda _op, _number: GO, syncs=False))
    if ran.failure():
        runner.box.expect_room(record.final, ran.told)
        return f"nondeterministic: a further run with no fault {ran.failure()}"
    after = runner.box.look(spec)
    path = first_difference(record.final, after, spec.is_output)
    if path is None:
        return ""
    runner.box.expect_room(record.final)
    detail = describe_difference(path, record.final, after, record.golden, runner.box.path)
    return f"nondeterministic: a further run with no fault differs in {path}\n{detail}"
