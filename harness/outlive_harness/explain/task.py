"""The explanation of one scenario's violations: found by a worker, and attached to the violations."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.marks import lost_ops
from outlive_harness.golden.record import Record
from outlive_harness.jobs.queue import Priority
from outlive_harness.jobs.session import Session
from outlive_harness.jobs.tasks import Task, Waits, result_of, submit
from outlive_harness.results.findings import Violation
from outlive_harness.results.keywords import CUTS
from outlive_harness.results.ops import Op
from outlive_harness.results.options import Options
from outlive_harness.results.plan import Plan, Point, parse_plan
from outlive_harness.results.verdicts import ScenarioResult
from outlive_harness.trial.bench import Bench
from outlive_harness.trial.recordings import RecordingError
from outlive_harness.world.box import BoxError

from .advise import Advice, Faulty, Wanted, advise
from .sources import Source, followed, sources_of_recovery

#: The most plans of several crashes whose sources are found.
_PLANS = 4


@dataclass(slots=True)
class Explanation:
    """The explanation of violations.

    Attributes:
        sources: the source of each op of the golden run.
        advice: repairs that cure violations.
        recoveries: the source of the op of a recovery that a plan of several crashes blames, by plan.
    """

    sources: list[Source] = field(default_factory=list)
    advice: list[Advice] = field(default_factory=list)
    recoveries: dict[Plan, Source] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExplainTask(Task[Explanation]):
    """Finds the sources of violations, and cures for them.

    Attributes:
        place: the record's directory.
        wanted: the violations to cure.
        plans: plans of several crashes, whose last op's source is needed.
        until: wall-clock time after which nothing more begins; None for no limit.
    """

    place: Path
    wanted: Wanted
    plans: tuple[Plan, ...] = ()
    until: float | None = None

    def lost(self, _why: str) -> Explanation:
        """Return an empty explanation: the violations are reported without one."""
        return Explanation()

    def run(self, bench: Bench) -> Explanation:
        """Return the explanation; an error of the machine leaves a part of it empty."""
        recordings, record = bench.recordings, bench.record(self.place)
        run = followed(bench.runner, record)
        found = Explanation(run.of(record.ops))
        for plan in () if record.refused else self.plans:
            if self.until is not None and time.time() >= self.until:
                break
            with contextlib.suppress(BoxError, OSError, RecordingError):
                sources, ops = sources_of_recovery(recordings, record, plan)
                number = blamed(ops, "", "", plan[-1:])
                if number:
                    found.recoveries[plan] = sources[number - 1]
        try:
            if self.wanted.faults and not record.refused:
                found.advice = advise(recordings, record, self.wanted, run, until=self.until)
        except (BoxError, OSError):
            bench.runner.box.empty()
        return found


def explain(
    session: Session,
    record: Record,
    result: ScenarioResult,
    options: Options,
    judged: dict[str, Faulty],
    until: float | None = None,
) -> Waits[None]:
    """Attach to each violation its source, and a cure if there is one.

    Args:
        session: the session whose workers find them.
        record: the golden run.
        result: its violations are explained.
        options: the user's choices.
        judged: the violations of the crash states that trials judged, by the states' digests.
        until: wall-clock time after which nothing more begins; None for no limit.
    """
    faults = tuple(name for name in result.faults if FAULTS[name].follows_from_ops)
    profile = next((one.profile for one in result.faults.values() if one.profile), "posix")
    wanted = Wanted(faults, profile, options.seed, judged, options.memory, options.torn or CUTS[0])
    plans = dict.fromkeys(parse_plan(one.point) for one in result.violations if "+" in one.point)
    task = ExplainTask(record.place, wanted, tuple(plans)[:_PLANS], until)
    # The run that follows lines takes as long as the golden run: it does not begin if it cannot end in time.
    begins = None if until is None else until - record.seconds
    job = submit(session.root, [task], priority=Priority.CHECK, until=begins, label="explaining")
    found = yield from result_of(job)
    if found is None:
        result.warnings.append("the violations are not traced to their lines: the budget ended")
    if found is None or not found.sources:
        return
    if result.exhibit is not None:
        result.exhibit.sources = [str(source) for source in found.sources]
    for violation in result.violations:
        _attribute(violation, record, found)


def _attribute(violation: Violation, record: Record, found: Explanation) -> None:
    key = violation.kind, record.fold(violation.path)
    cure = next((one for one in found.advice if key in one.cures), None)
    plan = parse_plan(violation.point) if violation.point else ()
    violation.advice = cure.text if cure is not None else ""
    number = 0
    if not plan:  # the golden runs alone show it: blame the last op on the file
        made = (n for n, op in enumerate(record.ops, start=1) if violation.path in op.paths)
        number = max(made, default=0)
    elif cure is not None and cure.sites:
        number = _site(cure.sites, record.ops, violation.path, plan)
    elif len(plan) == 1:
        number = blamed(record.ops, violation.kind, violation.path, plan)
    source = found.recoveries.get(plan) if not number else found.sources[number - 1]
    if source is not None:
        violation.source = str(source)
        violation.stack = tuple(str(frame) for frame in source.stack if frame.is_own)
        within = source.within
        violation.within = f"{within.package}: {within}" if within is not None else ""


def _done(point: Point) -> int:
    """Return the number of the last op that had run, at least in part, when the fault was injected."""
    return point.at - (FAULTS[point.fault].blames == "before")


def _site(sites: Sequence[int], ops: Sequence[Op], path: str, plan: Plan) -> int:
    """Return the site of a repair that a violation is about: one that the run had reached by then.

    That is the last site on the violated file, on a file that lost data, or on the file of the blamed op.
    """
    point = plan[-1]
    past = [site for site in sites if site <= _done(point)] if len(plan) == 1 else []
    lost = [ops[number - 1] for number in lost_ops(point) if number <= len(ops)]
    last = ops[min(max(_done(point), 1), len(ops)) - 1]
    about = [path, *last.paths] if not lost else [*(name for op in lost for name in op.paths), path]
    for name in about:
        for site in reversed(past):
            if name and name in ops[site - 1].paths:
                return site
    others = (site for site in sites if path and path in ops[site - 1].paths)
    return past[-1] if past else next(others, sites[0])


def blamed(ops: Sequence[Op], kind: str, path: str, plan: Plan) -> int:
    """Return the number of the op that a maintainer should look at first; 0 if it is unknown."""
    if not plan or not ops or not FAULTS[plan[-1].fault].counts_ops:
        return 0
    point = plan[-1]
    at = min(max(1, _done(point)), len(ops))
    if kind == "torn-output":  # blame the op that opened the output to write it in place
        on_it = [n for n in range(at, 0, -1) if path in ops[n - 1].paths]
        opened = (n for n in on_it if ops[n - 1].kind == "open" or path == ops[n - 1].target)
        return next(opened, on_it[-1] if on_it else at)
    if point.lost:
        first = int(point.lost[0].rpartition("/")[2].partition(".")[0])
        numbers = lost_ops(point)
        writes = (n for n in numbers if n <= len(ops) and ops[n - 1].traits.writes)
        return next(writes, min(first, len(ops)) if numbers else at)
    return at
