"""A few recoveries repeated by exec, after all were forked from a zygote and none failed.

A recovery that depends on earlier imports behaves differently in an interpreter that has imported nothing.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from outlive_harness.jobs.tasks import Task
from outlive_harness.results.plan import Plan, plan_text
from outlive_harness.results.trials import Trial

from .bench import Bench
from .trial import TrialTask

#: How many recoveries are repeated, and the seconds after which no further one starts.
_MOST, _SHORT = 3, 0.1


def sample(trials: Iterable[Trial]) -> tuple[Plan, ...]:
    """Return the plans of a few trials: the middle one of those whose recoveries make equally many ops."""
    alike: dict[int, list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.redone >= 0 and not trial.findings:
            alike[trial.redone].append(trial)
    largest = sorted(alike.values(), key=len, reverse=True)[:_MOST]
    return tuple(several[len(several) // 2].plan for several in largest)


@dataclass(frozen=True, slots=True)
class ExecCheck(Task[str]):
    """Recoveries by exec.

    Attributes:
        place: the record's directory.
        plans: plans whose recoveries succeeded in a zygote.
        memory: bytes of recorded data that are kept in memory.
    """

    place: Path
    plans: tuple[Plan, ...]
    memory: int

    def run(self, bench: Bench) -> str:
        """Recover by exec; return how the result differs, "" if it does not."""
        begun = time.monotonic()
        for number, plan in enumerate(self.plans):
            if number and time.monotonic() - begun > _SHORT:
                break
            trial = TrialTask(self.place, plan, memory=self.memory, fresh=True).run(bench)
            if trial.findings:
                return f"after {plan_text(plan)}, by exec: {trial.findings[0].message}"
        return ""
