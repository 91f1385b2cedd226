"""The crash states of a golden run's first run, judged while its further runs are made.

What is learned from the further runs is not known yet: what differs from run to run, the versions of files
that are read by their values without being asked, of files behind links and of sets of files, and what a
check of crash states says. So only what is partial whatever they show is reported.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from random import Random

from outlive_harness.faults import KnownRun, Settings
from outlive_harness.faults.table import FAULTS, RUN_FAULTS
from outlive_harness.golden.advice.habits import is_ignored_by_name
from outlive_harness.golden.begun import Begun
from outlive_harness.golden.contents import learn_versions
from outlive_harness.golden.explained import replayed
from outlive_harness.golden.record import Record
from outlive_harness.jobs.tasks import Task
from outlive_harness.results.plan import Point
from outlive_harness.results.trials import Trial
from outlive_harness.world.reading import Valued

from .bench import Bench
from .golden_task import FirstRun
from .judge_states import JudgedStates, JudgeStates, judge
from .power_cuts import FindPowerCuts, power_cuts
from .recording import Recording, with_own_box
from .recordings import Recordings

#: Points that are judged between two looks at the clock.
_CHUNK = 64
#: The most power cuts that are looked at.
_CUTS = 512


@dataclass(slots=True)
class FirstLook:
    """What the first run's recording tells about crash states.

    Attributes:
        judged: the number of crash points whose states were judged.
        points: the number of points that there are.
        has_more: whether there may be more than these.
        wrong: the number of points at which an output is partial.
        examples: for each thing that is wrong, the smallest plan that shows it.
    """

    judged: int = 0
    points: int = 0
    has_more: bool = False
    wrong: int = 0
    examples: list[Trial] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LookAtFirstRun(Task[FirstLook]):
    """Judges the crash states of the first run by one fault.

    Attributes:
        first: the golden run so far.
        fault: the fault's name.
        settings: the faults' settings.
        profile: the disk's profile.
        seconds: how long that may take.
        is_declared: whether the user has said which files are outputs.
    """

    first: FirstRun
    fault: str
    settings: Settings
    profile: str
    seconds: float
    is_declared: bool = True

    def run(self, bench: Bench) -> FirstLook:
        """Judge the states, as many as there is time for."""
        until = time.monotonic() + self.seconds
        begun = self.first.load()
        recordings, recording = Recordings(bench.runner), _recording(begun, bench)
        bench.runner.box.unchanged.shared.choose(begun.record.template, begun.record.shared)
        look, record = FirstLook(), _judgeable(begun)
        if not _is_explained(begun, recording) or not recordings.hold(record, recording):
            return look
        points, look.has_more = self._points(record, recordings, recording)
        look.points = len(points)
        found = JudgedStates()
        while points and time.monotonic() < until:
            some, points = points[:_CHUNK], points[_CHUNK:]
            task = JudgeStates(self.first.place, tuple((one,) for one in some), self.profile)
            found.add(judge(recordings, record, task))
        look.judged = len(found.states)
        look.wrong = sum(
            any(self._is_certain(record, path) for _, path in wrong) for wrong in found.wrong.values()
        )
        for trial in found.examples:
            trial.findings = [one for one in trial.findings if self._is_certain(record, one.path)]
            look.examples += [trial] if trial.findings else []
        return look

    def lost(self, _why: str) -> FirstLook:
        """Return nothing: the trials judge the states."""
        return FirstLook()

    def _points(
        self, record: Record, recordings: Recordings, recording: Recording
    ) -> tuple[list[Point], bool]:
        """Return the crash points of the first run, and whether there may be more."""
        fault = FAULTS[self.fault]
        if fault.cuts_power:
            model = recordings.of(record, ()).model
            assert model is not None
            wanted = FindPowerCuts(self.first.place, (), self.fault, self.profile, 0, _CUTS)
            numbers = range(1, len(recording.ops) + 1)
            return power_cuts(wanted, recording, model.under(self.profile), numbers)
        run = KnownRun(record.ops, self.first.seconds, None, Random(0))
        return RUN_FAULTS[self.fault].configured(self.settings).points(run), False

    def _is_certain(self, record: Record, path: str) -> bool:
        """Return whether a finding holds whatever the further runs show."""
        if record.spec.is_of_database(path):
            return False
        return self.is_declared or not is_ignored_by_name(path)


def _recording(begun: Begun, bench: Bench) -> Recording:
    """Return the first run as a recording."""
    record, ran = begun.record, begun.ran
    recording = Recording(begun.box, record.template, begun.ops, [0])
    recording.acks = with_own_box(bench.runner, ran.acks)
    recording.said = [*ran.said, len(ran.acks)]
    recording.versions = {path: found for path, found in begun.noted.known.items() if record.is_shown(path)}
    return recording


def _is_explained(begun: Begun, recording: Recording) -> bool:
    """Return whether the ops account for what the run left, none of it behind links."""
    record = begun.record
    model = replayed(recording.initial, recording.ops, recording.box)
    left = {path: one for path, one in record.final.items() if not isinstance(one, Valued)}
    return not (model.why or record.led_to) and all(model.tree.get(path) == left[path] for path in left)


def _judgeable(begun: Begun) -> Record:
    """Return the record with what is known of whole contents, and without checks and sets."""
    record = begun.record
    spec = replace(record.spec, crash_check=None, together=())
    record = replace(record, spec=spec, versions={}, varying=set())
    learn_versions(record, begun.noted, begun.noted)
    return record
