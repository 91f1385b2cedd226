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
from outlive_harness.launch.zygote import ZygoteError
from outlive_harness.plan import Plan, parse_plan
from outlive_harness.scenario import CUTS
from outlive_harness.trace import WRITES, Op

from .advise import Advice, Faulty, Wanted, advise
from .sources import Source, sources_of, sources_of_recovery

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
        found = Explained(sources_of(tapes.runner, record))
        for plan in () if record.refused else self.plans:
            with contextlib.suppress(BoxError, OSError, TapeError, ZygoteError):
                sources, ops = sources_of_recovery(tapes, record, plan)
                number = _blamed(ops, "", "", plan[-1:])
                if number:
                    found.recoveries[plan] = sources[number - 1]
        try:
            if self.wanted.faults and not record.refused:
                found.advice = advise(tapes, record, self.wanted, found.sources)
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
    number = _site(cure.sites, record.ops, violation.path) if cure is not None else 0
    if not plan:  # the golden runs alone show it: what made the file last
        made = (n for n, op in enumerate(record.ops, start=1) if violation.path in (op.path, op.target))
        number = max(made, default=0)
    elif cure is None and len(plan) == 1:
        number = _blamed(record.ops, violation.kind, violation.path, plan)
    source = found.recoveries.get(plan) if not number else found.sources[number - 1]
    if source is not None:
        violation.source = str(source)
        violation.stack = tuple(str(frame) for frame in source.stack if frame.is_own)


def _site(sites: Sequence[int], ops: Sequence[Op], path: str) -> int:
    """Return the place of a repair that is about a path, or else the first."""
    about = (site for site in sites if path and path in (ops[site - 1].path, ops[site - 1].target))
    return next(about, sites[0])


def _blamed(ops: Sequence[Op], kind: str, path: str, plan: Plan) -> int:
    """Return the number of the op that a maintainer would look at first; 0 if nobody can say."""
    if not plan or not ops or plan[-1].fault == "timer":
        return 0
    point = plan[-1]
    at = min(point.at, len(ops))
    if kind == "torn-output":  # where the output was opened to be written in place
        on_it = [n for n in range(at, 0, -1) if ops[n - 1].path == path]
        opened = (n for n in on_it if ops[n - 1].kind == "open")
        return next(opened, on_it[-1] if on_it else at)
    if point.lost:
        first = point.lost[0].rpartition("/")[2].partition(".")[0]
        numbers = [int(name.partition(".")[0]) for name in point.lost if "/" not in name]
        writes = (n for n in numbers if n <= len(ops) and ops[n - 1].kind in WRITES)
        return next(writes, min(int(first), len(ops)) if numbers else at)
    if point.fault in ("eio", "full", "term"):
        return at
    return max(1, at - 1)
