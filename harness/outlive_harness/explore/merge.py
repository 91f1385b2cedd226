"""Many trials become few violations: one a cause, shown by its smallest example."""

from __future__ import annotations

import re
from collections import defaultdict

from outlive_harness.disk.profiles import PROFILES, strongest_first
from outlive_harness.globs import matcher
from outlive_harness.patterns import globs
from outlive_harness.plan import Plan, plan_text, size

from .golden import Record
from .results import Coverage, Finding, ScenarioResult, Trial, Violation, gravity

#: What a state leaves behind, folded, and how many points lead to it.
Littered = list[tuple[frozenset[str], int]]

#: What a baseline folds in names.
_DIGITS = re.compile(r"[0-9]+")
#: The part of all points that may be missing from runs that differ in their number of ops.
_MOST_UNMET = 0.2


def violations_of(name: str, record: Record) -> list[Violation]:
    """Return what the golden runs alone violate."""
    return [violation_of(name, "", Trial(()), finding, 1) for finding in record.findings]


def merge(
    result: ScenarioResult,
    record: Record,
    fault: str,
    coverage: Coverage,
    trials: list[Trial],
    *,
    exhaustive: bool,
    known: dict[str, frozenset[tuple[str, str]]],
    littered: Littered,
) -> None:
    """Add one fault's trials to a scenario's result, and what each state violates to what is known.

    What is left behind is added to *littered*.

    The same trials give the same result in whatever order and by however many workers they were
    done: a state's findings are reported for the smallest plan that reaches it.
    """
    by_state: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.reached and not trial.trouble:
            by_state[trial.state].append(trial)
    judged = {state: one for state, several in by_state.items() for one in several if one.judged}
    coverage.states = len(judged)
    coverage.tested = sum(len(several) for state, several in by_state.items() if state in judged)
    if not exhaustive:
        # A moment that came after the run's end is no point of it: random moments cover no set.
        late = sum(1 for trial in trials if not trial.reached and not trial.trouble)
        coverage.points, coverage.chosen = coverage.points - late, coverage.chosen - late
    else:
        result.warnings += _set_aside(fault, coverage, trials)
        _explain_gaps(coverage, record, trials)
    groups: dict[tuple[str, str], list[tuple[Trial, Finding, int]]] = defaultdict(list)
    if result.exhibit is not None:
        result.exhibit.points += _exhibited(fault, judged, by_state)
    for state, trial in judged.items():
        smallest = min(by_state[state], key=_telling)
        smallest.profile, smallest.left = trial.profile, trial.left
        smallest.rests_on = trial.rests_on if trial.profile else smallest.rests_on
        # Several files of one folded name are one finding of a state.
        found = {(finding.kind, record.fold(finding.path)): finding for finding in reversed(trial.findings)}
        if len(trial.plan) == 1:
            known[state] = known.get(state, frozenset()) | found.keys()
        for (kind, path), finding in found.items():
            key = kind, _DIGITS.sub("#", path) if kind == "litter" else path
            groups[key].append((smallest, finding, len(by_state[state])))
        littered.append((frozenset(warning.path for warning in trial.warnings), len(by_state[state])))
    for several in groups.values():
        # What machines show comes first, then the disk that promises most and still shows it.
        trial, finding, _ = min(
            several, key=lambda one: (not _is_seen(one[0]), weakness(one[0].profile), size(one[0].plan))
        )
        points = sum(count for _, _, count in several)
        result.violations.append(violation_of(result.name, fault, trial, finding, points))
    result.violations.sort(key=lambda one: (gravity(one.kind), one.fault != "", len(one.point.split("+"))))


def warnings_of(littered: Littered, record: Record) -> list[str]:
    """Return a warning for each pattern of what is left behind."""
    paths = sorted(frozenset().union(*(several for several, _ in littered)))
    said = []
    for pattern in globs(paths, record.final.keys()):
        like = set(filter(matcher([pattern]), paths))
        points = sum(count for several, count in littered if several & like)
        # A star of a folded name is one here, too.
        name = min(like) if len(like) == 1 else pattern.replace("[*]", "*")
        names = f" ({len(like)} names)" if len(like) > 1 else ""
        after = f"after {points} crash point{'s' * (points != 1)}"
        said.append(f"litter: {name} is left behind {after}{names}")
    return said


def _is_seen(trial: Trial) -> bool:
    """Tell whether machines were seen to leave what a trial began with, or are taken to."""
    return not trial.rests_on and (not trial.profile or bool(PROFILES[trial.profile].habits))


def _telling(trial: Trial) -> tuple[bool, tuple[int, int, Plan]]:
    """Return what trials that came to one state are compared by: those first that a kill can leave."""
    return bool(trial.rests_on) and not trial.profile, size(trial.plan)


def _exhibited(
    fault: str, judged: dict[str, Trial], by_state: dict[str, list[Trial]]
) -> list[tuple[str, int, str, tuple[str, ...]]]:
    return [
        (fault, trial.plan[0].at, plan_text(trial.plan), tuple(sorted({one.kind for one in judge.findings})))
        for state, judge in judged.items()
        for trial in by_state[state]
    ]


def weakness(profile: str) -> int:
    """Return how little a disk promises: 0 for the one that promises most, and where none is named."""
    return strongest_first().index(PROFILES[profile]) if profile else 0


def _set_aside(fault: str, coverage: Coverage, trials: list[Trial]) -> list[str]:
    """Leave out points that only some runs have, if they are few; return a warning that says so.

    Threads that race to make a directory make a run some ops longer or shorter. A run that ended
    rightly before the point has no such point; where many are missing, something else is wrong.
    """
    unmet = [trial for trial in trials if trial.unmet and not trial.reached and not trial.trouble]
    if not unmet or len(unmet) > coverage.chosen * _MOST_UNMET:
        for trial in unmet:
            trial.unmet = False
        return []
    coverage.points, coverage.chosen = coverage.points - len(unmet), coverage.chosen - len(unmet)
    return [f"{fault}: runs differ in their number of ops; {len(unmet)} points were not met in 3 attempts"]


def _explain_gaps(coverage: Coverage, record: Record, trials: list[Trial]) -> None:
    """Label the coverage with why points were not tested, if any were not."""
    trouble = next((trial.trouble for trial in trials if trial.trouble), "")
    missed = sum(1 for trial in trials if not trial.reached and not trial.trouble and not trial.unmet)
    left = coverage.chosen - sum(1 for trial in trials if not trial.unmet)
    tested = f"{coverage.tested} of {coverage.points} points tested"
    if trouble:
        coverage.label = f"{tested}: {trouble}"
    elif left:
        coverage.label = f"{tested} when the budget ended"
    elif missed:
        why = (
            f"the run makes {record.least_ops} to {len(record.ops)} ops" if record.ops else "the run was over"
        )
        coverage.label = f"{tested}: {missed} were not reached in 3 attempts ({why})"


def violation_of(name: str, fault: str, trial: Trial, finding: Finding, points: int) -> Violation:
    """Return a finding of a trial in its place; *points* lead to it."""
    point = plan_text(trial.plan)
    return Violation(
        kind=finding.kind,
        fault=fault,
        point=point,
        op=trial.op,
        path=finding.path,
        message=finding.message,
        detail=finding.detail,
        replay=f"{name}:{point}" if point else "",
        profile=trial.profile,
        rests_on=trial.rests_on,
        lost=tuple(trial.lost),
        stayed=tuple(trial.stayed),
        left=trial.left,
        points=points,
        mark=trial.mark,
    )
