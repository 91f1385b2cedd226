"""Jobs of runs without a fault: a scenario's golden run, and the observation of an undeclared command."""

from __future__ import annotations

import itertools

from outlive_harness.golden.observe import Observation, ObserveTask
from outlive_harness.golden.record import Record
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import Waits, results_of, submit
from outlive_harness.results.options import Options
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.trial.golden_task import GoldenRunTask

from .drive import finish

_numbers = itertools.count()


def recorded(session: Session, spec: RunSpec, options: Options) -> Waits[Record]:
    """Return the golden run of a pipeline; processes that need the same one share it."""
    name = spec.key() + ("" if options.zygote else "-x")
    task = GoldenRunTask(spec, session.records / name, options.zygote, options.memory)
    job = submit(session.root, [task], priority=Priority.GOLDEN_RUN, key=name)
    (record,) = yield from results_of(job)
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
