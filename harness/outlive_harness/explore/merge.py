"""Many trials become few violations: one a cause, shown by its smallest example."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

from outlive_harness.disk.profiles import PROFILES, weakness
from outlive_harness.golden.record import Record
from outlive_harness.results.findings import Finding, Violation
from outlive_harness.results.globs import matcher
from outlive_harness.results.patterns import globs
from outlive_harness.results.plan import Plan, plan_text, size
from outlive_harness.results.trials import Outcome, Trial, violation_of
from outlive_harness.results.verdicts import Coverage, ScenarioResult
from outlive_harness.results.violations import gravity
from outlive_harness.search.fault_search import SearchState

#: What a crash state leaves behind, folded, and how many points lead to it.
Littered = list[tuple[frozenset[str], int]]

#: What a baseline folds in names.
_DIGITS = re.compile(r"[0-9]+")
#: The part of all points that may be missing from runs that differ in their number of ops.
_MOST_MISSING = 0.2


@dataclass(slots=True)
class Merged:
    """What all faults of a scenario show together.

    Attributes:
        states: what each crash state violates, by its digest: (kind, folded path).
        littered: what is left behind.
    """

    states: dict[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    littered: Littered = field(default_factory=list)


@dataclass(slots=True)
class _States:
    """The crash states that one fault's trials reached.

    Attributes:
        trials: by the state's digest.
        judged: the trial that judged it, likewise; a state that none judged is left out.
    """

    trials: dict[str, list[Trial]]
    judged: dict[str, Trial]


def violations_of(name: str, record: Record) -> list[Violation]:
    """Return what the golden runs alone violate."""
    return [violation_of(name, "", Trial(()), finding, 1) for finding in record.findings]


def merge(result: ScenarioResult, record: Record, fault: str, one: SearchState, merged: Merged) -> None:
    """Add one fault's trials to a scenario's result, and to what all faults show together.

    The same trials give the same result in whatever order and by however many workers they were
    done: a state's findings are reported for the smallest plan that reaches it.
    """
    states = _states_of(one.trials)
    coverage = one.coverage
    coverage.states = len(states.judged)
    coverage.tested = sum(len(states.trials[state]) for state in states.judged)
    if one.search.fault.intercepts:
        result.warnings += _set_aside(fault, coverage, one.trials)
        _note_gaps(coverage, record, one.trials)
    else:
        # A moment after the run's end is not a point of it: random moments cover no set.
        late = sum(1 for trial in one.trials if not trial.reached and not trial.trouble)
        coverage.points, coverage.chosen = coverage.points - late, coverage.chosen - late
    if result.exhibit is not None:
        result.exhibit.points += _exhibited(fault, states)
    result.violations += _violations(result.name, record, fault, states, merged)
    result.violations.sort(key=lambda one: (gravity(one.kind), one.fault != "", len(one.point.split("+"))))


def _states_of(trials: list[Trial]) -> _States:
    by_state: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.reached:
            by_state[trial.state].append(trial)
    judged = {state: one for state, several in by_state.items() for one in several if one.judged}
    return _States(by_state, judged)


def _violations(name: str, record: Record, fault: str, states: _States, merged: Merged) -> list[Violation]:
    """Return a violation for each kind and file, shown by the trial that says most."""
    groups: dict[tuple[str, str], list[tuple[Trial, Finding, int]]] = defaultdict(list)
    for state, trial in states.judged.items():
        several = states.trials[state]
        smallest = min(several, key=_telling)
        smallest.profile, smallest.left = trial.profile, trial.left
        smallest.rests_on = trial.rests_on if trial.profile else smallest.rests_on
        # Several files of one folded name are one finding of a state.
        found = {(finding.kind, record.fold(finding.path)): finding for finding in reversed(trial.findings)}
        if len(trial.plan) == 1:
            merged.states[state] = merged.states.get(state, frozenset()) | found.keys()
        for (kind, path), finding in found.items():
            key = kind, _DIGITS.sub("#", path) if kind == "litter" else path
            groups[key].append((smallest, finding, len(several)))
        merged.littered.append((frozenset(warning.path for warning in trial.warnings), len(several)))
    violations = []
    for examples in groups.values():
        # What machines show comes first, then the disk that promises most and still shows it.
        trial, finding, _ = min(
            examples, key=lambda one: (not _is_seen(one[0]), weakness(one[0].profile), size(one[0].plan))
        )
        points = sum(count for _, _, count in examples)
        violations.append(violation_of(name, fault, trial, finding, points))
    return violations


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
    """Return whether machines were seen to leave what a trial began with, or are taken to."""
    return not trial.rests_on and (not trial.profile or bool(PROFILES[trial.profile].habits))


def _telling(trial: Trial) -> tuple[bool, tuple[int, int, Plan]]:
    """Return what trials that came to one state are compared by: those first that a kill can leave."""
    return bool(trial.rests_on) and not trial.profile, size(trial.plan)


def _exhibited(fault: str, states: _States) -> list[tuple[str, int, str, tuple[str, ...]]]:
    return [
        (fault, trial.plan[0].at, plan_text(trial.plan), tuple(sorted({one.kind for one in judge.findings})))
        for state, judge in states.judged.items()
        for trial in states.trials[state]
    ]


def _set_aside(fault: str, coverage: Coverage, trials: list[Trial]) -> list[str]:
    """Leave out points that only some runs have, if they are few; return a warning that says so.

    Threads that race to make a directory make a run some ops longer or shorter. A run that ended
    rightly before the point has no such point; where many are missing, something else is wrong.
    """
    missing = [trial for trial in trials if trial.outcome is Outcome.TOO_SHORT]
    if not missing or len(missing) > coverage.chosen * _MOST_MISSING:
        for trial in missing:
            trial.outcome = Outcome.NOT_REACHED
        return []
    coverage.points, coverage.chosen = coverage.points - len(missing), coverage.chosen - len(missing)
    return [f"{fault}: runs differ in their number of ops; {len(missing)} points were not met in 3 attempts"]


def _note_gaps(coverage: Coverage, record: Record, trials: list[Trial]) -> None:
    """Note why points were not tested, if any were not."""
    trouble = next((trial.trouble for trial in trials if trial.trouble), "")
    missed = sum(1 for trial in trials if trial.outcome is Outcome.NOT_REACHED)
    left = coverage.chosen - sum(1 for trial in trials if trial.outcome is not Outcome.TOO_SHORT)
    tested = f"{coverage.tested} of {coverage.points} points tested"
    why = ""
    if trouble:
        why = f"{tested}: {trouble}"
    elif left:
        why = f"{tested} when the budget ended"
    elif missed:
        many = f"the run makes {record.least_ops} to {len(record.ops)} ops"
        why = f"{tested}: {missed} were not reached in 3 attempts "
        why += f"({many if record.ops else 'the run was over'})"
    if why:
        coverage.notes.clear()
        coverage.leave_out(why)
