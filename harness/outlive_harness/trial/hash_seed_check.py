"""Further golden runs by exec, as trials in a zygote all have the zygote's hash seed.

Without a given seed each new process draws its own (PYTHONHASHSEED), and a pipeline whose outputs depend on
the order of a set writes other ones in some of them. Such a pipeline is nondeterministic, and is not judged.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from outlive_harness.golden.advice.by_value import by_value
from outlive_harness.golden.advice.cures import in_words
from outlive_harness.golden.advice.nondeterminism import advice
from outlive_harness.golden.advice.tried import FIXED
from outlive_harness.golden.contents import all_unlike, difference, first_unlike
from outlive_harness.golden.record import Record
from outlive_harness.intercept.supervisor import GO
from outlive_harness.jobs.tasks import Task
from outlive_harness.launch.options import RunOptions
from outlive_harness.world.box import BoxError
from outlive_harness.world.runner import Runner

from .bench import Bench

#: How many runs are made, and the seconds after which no further one starts.
_MOST, _SHORT = 3, 0.1


def has_own_seed(record: Record) -> bool:
    """Return whether each new process of a pipeline draws a hash seed, and its trials share one."""
    seed = record.spec.environment(record.place).get("PYTHONHASHSEED", "random")
    return record.preload is not None and seed in ("", "random")


@dataclass(frozen=True, slots=True)
class HashSeedCheck(Task[str]):
    """Golden runs by exec.

    Attributes:
        place: the record's directory.
    """

    place: Path

    def run(self, bench: Bench) -> str:
        """Run again from scratch; return how the outputs differ, "" if they do not."""
        seed = in_words(bench.record(self.place).spec, [FIXED])
        otherwise = f"sort what comes out of a set, or add {seed}, which makes it the same in each run"
        return further_runs(bench, self.place, otherwise, most=_MOST)


def further_runs(bench: Bench, place: Path, otherwise: str, *, most: int = 1) -> str:
    """Run from scratch by exec; return how the outputs differ from the golden ones, "" if they do not.

    Args:
        bench: runs the pipeline; an error of its box is met, and reported, by trials.
        place: the record's directory.
        otherwise: what to do if no reader and no mask makes the outputs equal.
        most: how many runs are made, unless they are not quick.
    """
    begun, runner, record = time.monotonic(), bench.runner, bench.record(place)
    found = ""
    try:
        runner.cool()
        for number in range(most):
            if found or (number and time.monotonic() - begun > _SHORT):
                break
            found = _differs(runner, record, otherwise)
    except (BoxError, OSError):
        runner.box.empty()
        return ""
    return found


def _differs(runner: Runner, record: Record, otherwise: str) -> str:
    spec = record.spec
    runner.box.fill(record.template)
    ran = runner.run(spec, RunOptions(timeout=record.limit, visit=lambda _op, _number: GO, syncs=False))
    if ran.failure():
        runner.box.expect_room(record.final, ran.told)
        return f"nondeterministic: a further run with no fault {ran.failure()}"
    after = runner.look(spec)
    path = first_unlike(record, after)
    if path is None:
        return ""
    runner.box.expect_room(record.final)
    why = f"nondeterministic: a further run with no fault differs in {path}\n"
    why += difference(runner, record, path, after)
    found = by_value(runner, record, all_unlike(record, after))
    return f"{why}\n{advice(spec, found.cures) if found.cures else otherwise}"
