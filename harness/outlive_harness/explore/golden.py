"""Jobs of runs without a fault: a scenario's golden run, and the observation of an undeclared command."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable

from outlive_harness.golden.advice.cures import Cure
from outlive_harness.golden.observe import Observation, ObserveTask
from outlive_harness.golden.record import Record
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import Waits, results_of, submit
from outlive_harness.results.keywords import KEYWORD
from outlive_harness.results.options import Options
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.results.scenario import NO_FILE, Scenario
from outlive_harness.trial.golden_task import REST, FinishGoldenRun, FirstRun, GoldenRunTask

from .drive import finish

_numbers = itertools.count()
#: Seconds that golden runs may take after the budget has ended.
_GRACE = 3.0


def recorded(
    session: Session,
    spec: RunSpec,
    options: Options,
    *,
    until: float | None = None,
    meanwhile: Callable[[FirstRun], Waits[None]] | None = None,
) -> Waits[Record]:
    """Return the golden run of a pipeline; processes that need the same one share it.

    Args:
        session: the session whose workers make it.
        spec: the pipeline.
        options: the user's choices.
        until: wall-clock time at which the budget ends; None for no limit.
        meanwhile: what is done while the further runs are made, if the first run took long; None for nothing.
    """
    name = spec.key() + ("" if options.zygote else "-x")
    # Short runs may end even then: only they give a verdict.
    late = None if until is None else until + _GRACE
    task = GoldenRunTask(spec, session.records / name, options.zygote, options.memory, late)
    job = submit(session.root, [task], priority=Priority.GOLDEN_RUN, key=name)
    (made,) = yield from results_of(job)
    if isinstance(made, Record):
        return made
    rest = submit(
        session.root, [FinishGoldenRun(task, made)], priority=Priority.GOLDEN_RUN, key=f"{name}{REST}"
    )
    if meanwhile is not None:
        yield from meanwhile(made)
    (record,) = yield from results_of(rest)
    return record


def observe_command(session: Session, spec: RunSpec, timeout: float) -> Observation:
    """Have a worker observe a command, and wait for it.

    Args:
        session: the session whose workers run it.
        spec: the command.
        timeout: seconds of one run.

    Raises:
        HarnessError: a fault of ours.
        WorkerDiedError: the workers keep dying.
    """
    task = ObserveTask(spec, session.records / f"observed-{next(_numbers)}", timeout)
    job = submit(session.root, [task], priority=Priority.GOLDEN_RUN)
    return finish(session, results_of(job))[0]


def is_undeclared(scenario: Scenario) -> bool:
    """Return whether a command comes from a command line that says nothing of its outputs."""
    is_typed = os.path.basename(scenario.file) == NO_FILE
    return is_typed and not scenario.outputs and scenario.check is None


def declare(scenario: Scenario, cures: Iterable[Cure]) -> None:
    """Add what a golden run proposes to the declaration of a scenario, as if the user had given it."""
    for cure in filter(lambda one: one.keyword, cures):
        keyword = KEYWORD[cure.keyword]
        value = keyword.checked(cure.value)
        now = getattr(scenario, cure.keyword)
        setattr(scenario, cure.keyword, now + value if keyword.is_added else value)
