"""A command that nothing is declared of, observed by a worker."""

from __future__ import annotations

import itertools

from outlive_harness.golden.observe import Observation, ObserveTask
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import submit
from outlive_harness.results.run_spec import RunSpec

_numbers = itertools.count()


def observe_command(session: Session, spec: RunSpec, timeout: float) -> Observation:
    """Have a worker observe a command, and wait for it.

    Args:
        session: whose workers do it.
        spec: what is run.
        timeout: seconds of one run.

    Raises:
        HarnessError: a fault of ours.
        WorkerDiedError: the workers keep dying.
    """
    task = ObserveTask(spec, session.root / "records" / f"observed-{next(_numbers)}", timeout)
    job = submit(session.root, [task], priority=Priority.GOLDEN_RUN)
    session.wake()
    while not job.is_over():
        session.replace_dead()
        session.wait(0.05)
    return job.collect()[0]
