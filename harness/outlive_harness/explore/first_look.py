"""What is said of a long first run's crash states, while the further golden runs are made."""

from __future__ import annotations

from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import Waits, results_of, submit
from outlive_harness.results.options import Options
from outlive_harness.results.scenario import Scenario
from outlive_harness.results.trials import Trial
from outlive_harness.search.choices import faults_of, profile_of, settings_of
from outlive_harness.trial.first_look import LookAtFirstRun
from outlive_harness.trial.golden_task import FirstRun
from outlive_harness.trial.judge_states import can_be_judged

from .foretell import looked_in_words
from .golden import is_undeclared

#: Seconds, and the part of the run's time, in which its crash states are looked at.
_LOOK, _LOOK_PART = 2.0, 0.1


def looked_at(
    session: Session, scenario: Scenario, options: Options, first: FirstRun
) -> Waits[tuple[str, list[Trial]]]:
    """Return what was looked at in words, "" for nothing, and an example of each thing that is wrong."""
    faults = [name for name in faults_of(options, scenario) if can_be_judged(name)]
    if scenario.expect or not faults:
        return "", []
    tasks = [
        LookAtFirstRun(
            first,
            name,
            settings_of(options, scenario),
            profile_of(options, scenario),
            seconds=max(_LOOK, _LOOK_PART * first.seconds),
            is_declared=not is_undeclared(scenario),
        )
        for name in faults
    ]
    looks = yield from results_of(submit(session.root, tasks, priority=Priority.CHECK))
    return looked_in_words(faults, looks), [trial for one in looks for trial in one.examples]
