"""The golden run that an exploration begins with."""

from __future__ import annotations

from outlive_harness.golden.record import Record
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import Waits, results_of, submit
from outlive_harness.results.options import Options
from outlive_harness.results.run_spec import RunSpec
from outlive_harness.trial.golden_task import GoldenRunTask


def recorded(session: Session, spec: RunSpec, options: Options) -> Waits[Record]:
    """Have the golden run made, or take the one that another process has had made of the same."""
    name = spec.key() + ("" if options.zygote else "-x")
    task = GoldenRunTask(spec, session.root / "records" / name, options.zygote, options.memory)
    job = submit(session.root, [task], priority=Priority.GOLDEN_RUN, key=name)
    (record,) = yield from results_of(job)
    return record
