"""The explanation of one scenario's violations: done by a worker, put into words where it was asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from outlive_harness.explore.golden import Record
from outlive_harness.explore.options import Options
from outlive_harness.explore.results import ScenarioResult, Violation
from outlive_harness.explore.runner import BoxError
from outlive_harness.explore.session import Session
from outlive_harness.explore.tapes import TapeError, Tapes
from outlive_harness.explore.waiting import Waiting, handed_out
from outlive_harness.faults import every
from outlive_harness.plan import Plan, Point, parse_plan
from outlive_harness.scenario import CUTS
from outlive_harness.trace import INSTALLS, WRITES, Op

from .advise import Advice, Faulty, Wanted, advise
from .sources import Source, followed, sources_of_recovery

#: Plans of several crashes whose ops are looked for.
_PLANS = 4
#: Faults whose crash states a repaired trace has too: an error or a signal has none of its own.
_OF_A_TRACE = frozenset({"kill", "torn", "power"})


@dataclass(slots=True)
class Explained:
    """What was found out.

    Attributes:
        sources: where each op of the golden run comes from.
        advice: repairs under which violations are gone.
        recoveries: where the op of a recovery comes from that a plan of several crashes is about, by plan.
    """

    sources: list[Source] = field(default_factory=list)
    advice: list[Advice] = field(default_factory=list)
    recoveries: dict[Plan, Source] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is asked to find out.

    Attributes:
        place: directory of the record.
        wanted: what is to be cured.
        plans: of several crashes, whose last op is asked for.
    """

    place: Path
    wanted: Wanted
    plans: tuple[Plan, ...] = ()

    def carry_out(self, tapes: Tapes, record: Record) -> Explained:
        """Find it out; trouble with the machine leaves a part of it unsaid."""
        run = followed(tapes.runner, record)
        found = Explained(run.of(record.ops))
        for plan in () if record.refused else self.plans:
            with contextlib.suppress(BoxError, OSError, TapeError):
                sources, ops = sources_of_recovery(tapes, record, plan)
                number = blamed(ops, "", "", plan[-1:])
                if number:
                    found.recoveries[plan] = sources[number - 1]
        try:
            if self.wanted.faults and not record.refused:
                found.advice = advise(tapes, record, self.wanted, run)
        except (BoxError, OSError):
            tapes.runner.empty()
        return found


def explain(
    session: Session, record: Record, result: ScenarioResult, options: Options, judged: dict[str, Faulty]
) -> Generator[Waiting, None, None]:
    """Say of each violation where it comes from, and what would cure it."""
    faults = tuple(name for name in result.faults if name in _OF_A_TRACE)
    profile = next((one.profile for one in result.faults.values() if one.profile), "posix")
    wanted = Wanted(faults, profile, options.seed, judged, options.memory, options.torn or CUTS[0])
    plans = dict.fromkeys(parse_plan(one.point) for one in result.violations if "+" in one.point)
    task = Task(record.place, wanted, tuple(plans)[:_PLANS])
    found = yield from handed_out(session, f"e-{record.place.name}", task, Explained)
    if found is None:
        return
    if result.exhibit is not None:
        result.exhibit.sources = [str(source) for source in found.sources]
    for violation in result.violations:
        _attribute(violation, record, found)


def _attribute(violation: Violation, record: Record, found: Explained) -> None:
    key = violation.kind, record.fold(violation.path)
    cure = next((one for one in found.advice if key in one.cures), None)
    plan = parse_plan(violation.point) if violation.point else ()
    violation.advice = cure.text if cure is not None else ""
    number = 0
    if not plan:  # the golden runs alone show it: what made the file last
        made = (n for n, op in enumerate(record.ops, start=1) if violation.path in _names(op))
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


def _names(op: Op) -> tuple[str, ...]:
    """Return the paths that an op is about."""
    return (op.path, op.target) if op.kind in INSTALLS else (op.path,)


def _done(point: Point) -> int:
    """Return the last op that had run, at least in part, when a fault struck."""
    return point.at - (every()[point.fault].blames == "before")


def _site(sites: Sequence[int], ops: Sequence[Op], path: str, plan: Plan) -> int:
    """Return the place of a repair that a violation is about: one that the run had come to by then.

    That is the last one on the file that is wrong, or whose data were lost, or that was being made.
    """
    point = plan[-1]
    past = [site for site in sites if site <= _done(point)] if len(plan) == 1 else []
    lost = [ops[number - 1] for number in _lost(point) if number <= len(ops)]
    struck = ops[min(max(_done(point), 1), len(ops)) - 1]
    about = [path, *_names(struck)] if not lost else [*(name for op in lost for name in _names(op)), path]
    for name in about:
        for site in reversed(past):
            if name and name in _names(ops[site - 1]):
                return site
    others = (site for site in sites if path and path in _names(ops[site - 1]))
    return past[-1] if past else next(others, sites[0])


def _lost(point: Point) -> list[int]:
    """Return the ops of the run that a power cut lost, or of which it lost a part."""
    return [int(name.partition(".")[0]) for name in point.lost if "/" not in name]


def blamed(ops: Sequence[Op], kind: str, path: str, plan: Plan) -> int:
    """Return the number of the op that a maintainer would look at first; 0 if nobody can say."""
    if not plan or not ops or every()[plan[-1].fault].blames == "none":
        return 0
    point = plan[-1]
    at = min(max(1, _done(point)), len(ops))
    if kind == "torn-output":  # where the output was opened to be written in place
        on_it = [n for n in range(at, 0, -1) if path in _names(ops[n - 1])]
        opened = (n for n in on_it if ops[n - 1].kind == "open" or path == ops[n - 1].target)
        return next(opened, on_it[-1] if on_it else at)
    if point.lost:
        first = int(point.lost[0].rpartition("/")[2].partition(".")[0])
        numbers = _lost(point)
        writes = (n for n in numbers if n <= len(ops) and ops[n - 1].kind in WRITES)
        return next(writes, min(first, len(ops)) if numbers else at)
    return at
