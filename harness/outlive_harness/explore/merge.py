"""Trials merged into violations: one for each kind and file, shown by its smallest example."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from outlive_harness.disk.profiles import PROFILES, weakness
from outlive_harness.golden.record import Record
from outlive_harness.history.baseline import without_digits
from outlive_harness.results.findings import Finding, NotJudged, Violation
from outlive_harness.results.globs import matcher
from outlive_harness.results.patterns import globs
from outlive_harness.results.plan import Plan, plan_text, size
from outlive_harness.results.trials import Outcome, Trial, violation_of
from outlive_harness.results.verdicts import Coverage, ScenarioResult
from outlive_harness.results.violations import gravity
from outlive_harness.search.fault_search import SearchState

#: The litter after each crash state, as folded paths, and how many points lead to the state.
Littered = list[tuple[frozenset[str], int]]

#: Said of what only a recording shows, if runs differ in the order of their ops.
_IN_THIS_ORDER = " (in the order that the ops of the recorded run had)"

#: The share of points that runs may lack if they differ in their number of ops.
_MOST_MISSING = 0.2


@dataclass(slots=True)
class Merged:
    """What all faults of a scenario show together.

    Attributes:
        states: the violations of each crash state, by its digest: (kind, folded path).
        littered: the litter.
    """

    states: dict[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    littered: Littered = field(default_factory=list)


@dataclass(slots=True)
class _States:
    """The crash states that one fault's trials reached.

    Attributes:
        trials: the trials that reached each state, by the state's digest.
        judged: the trial that judged each state; states that no trial judged are left out.
    """

    trials: dict[str, list[Trial]]
    judged: dict[str, Trial]


def violations_of(name: str, record: Record) -> list[Violation]:
    """Return the violations that the golden runs alone show."""
    return [violation_of(name, "", Trial(()), finding, 1) for finding in record.findings]


def merge(result: ScenarioResult, record: Record, fault: str, one: SearchState, merged: Merged) -> None:
    """Add one fault's trials to a scenario's result, and to what all faults show together.

    The same trials give the same result for any order and any number of workers: a state's findings are
    reported for the smallest plan that reaches it.
    """
    states = _states_of(one.trials)
    coverage = one.coverage
    coverage.states = len(states.judged)
    coverage.tested = sum(len(states.trials[state]) for state in states.judged)
    if one.search.fault.intercepts:
        result.warnings += _set_aside(fault, coverage, one.trials)
        _note_gaps(coverage, record, one.trials)
    else:
        # A random moment after the run's end is not a crash point.
        late = sum(1 for trial in one.trials if not trial.reached and not trial.trouble)
        coverage.points, coverage.chosen = coverage.points - late, coverage.chosen - late
    if result.exhibit is not None:
        result.exhibit.points += _exhibited(fault, states)
    found = _violations(result.name, record, fault, states, merged)
    result.violations += found + _only_seen(result.name, record, fault, one, found)
    result.violations.sort(key=lambda one: (gravity(one.kind), one.fault != "", len(one.point.split("+"))))


def _states_of(trials: list[Trial]) -> _States:
    by_state: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.reached:
            by_state[trial.state].append(trial)
    judged = {state: one for state, several in by_state.items() for one in several if one.judged}
    return _States(by_state, judged)


def _violations(name: str, record: Record, fault: str, states: _States, merged: Merged) -> list[Violation]:
    """Return a violation for each kind and file, shown by its best example."""
    groups: dict[tuple[str, str], list[tuple[Trial, Finding, int]]] = defaultdict(list)
    for state, trial in states.judged.items():
        several = states.trials[state]
        smallest = min(several, key=_telling)
        smallest.profile, smallest.left = trial.profile, trial.left
        smallest.rests_on = trial.rests_on if trial.profile else smallest.rests_on
        # A state has one finding for all files of one folded name.
        found = {(finding.kind, record.fold(finding.path)): finding for finding in reversed(trial.findings)}
        if len(trial.plan) == 1:
            merged.states[state] = merged.states.get(state, frozenset()) | found.keys()
        for (kind, path), finding in found.items():
            key = kind, without_digits(path) if kind == "litter" else path
            groups[key].append((smallest, finding, len(several)))
        merged.littered.append((frozenset(warning.path for warning in trial.warnings), len(several)))
    violations = []
    for examples in groups.values():
        # Prefer states that machines are known to leave, then those of the strongest disk.
        trial, finding, _ = min(
            examples, key=lambda one: (not _is_seen(one[0]), weakness(one[0].profile), size(one[0].plan))
        )
        points = sum(count for _, _, count in examples)
        violations.append(violation_of(name, fault, trial, finding, points))
    return violations


def _only_seen(
    name: str, record: Record, fault: str, one: SearchState, found: Sequence[Violation]
) -> list[Violation]:
    """Return what only the recording shows: the trials that would show it as well were not carried out."""
    known = {(violation.kind, record.fold(violation.path)) for violation in found}
    tried = {trial.plan for trial in one.trials if trial.reached}
    points = Counter(key for plan, wrong in one.seen.wrong.items() if plan not in tried for key in wrong)
    examples: dict[tuple[str, str], Violation] = {}
    for trial in sorted(one.seen.examples, key=lambda trial: size(trial.plan)):
        for finding in trial.findings if trial.plan not in tried else ():
            key = finding.kind, record.fold(finding.path)
            if key not in known and key not in examples:
                examples[key] = violation_of(name, fault, trial, finding, points[key])
                examples[key].from_recording = True
                examples[key].message += "" if record.has_order else _IN_THIS_ORDER
    return list(examples.values())


def not_recovered(fault: str, one: SearchState, *, has_order: bool) -> list[NotJudged]:
    """Return the crash points of which only the state was judged, from the recording, if there are any."""
    tried = {trial.plan for trial in one.trials if trial.reached}
    left = one.seen.states.keys() - tried
    if not left:
        return []
    what = f"the recovery after {len(left)} crash point{'s' * (len(left) != 1)} of {fault}"
    why = "not run; their states were judged for partial outputs, from the recording of one run"
    return [NotJudged(what, why if has_order else f"{why}, and others order their ops in other ways")]


def warnings_of(littered: Littered, record: Record) -> list[str]:
    """Return a warning for each pattern of litter."""
    paths = sorted(frozenset().union(*(several for several, _ in littered)))
    said = []
    for pattern in globs(paths, record.final.keys()):
        like = set(filter(matcher([pattern]), paths))
        points = sum(count for several, count in littered if several & like)
        # The star of a folded name is a star in the pattern, too.
        name = min(like) if len(like) == 1 else pattern.replace("[*]", "*")
        names = f" ({len(like)} names)" if len(like) > 1 else ""
        after = f"after {points} crash point{'s' * (points != 1)}"
        said.append(f"litter: {name} is left behind {after}{names}")
    return said


def _is_seen(trial: Trial) -> bool:
    """Return whether machines are known, or assumed, to leave a trial's crash state."""
    return not trial.rests_on and (not trial.profile or bool(PROFILES[trial.profile].habits))


def _telling(trial: Trial) -> tuple[bool, tuple[int, int, Plan]]:
    """Return a key for comparing trials of one state: those that need no rare condition come first."""
    return bool(trial.rests_on) and not trial.profile, size(trial.plan)


def _exhibited(fault: str, states: _States) -> list[tuple[str, int, str, tuple[str, ...]]]:
    return [
        (fault, trial.plan[0].at, plan_text(trial.plan), tuple(sorted({one.kind for one in judge.findings})))
        for state, judge in states.judged.items()
        for trial in states.trials[state]
    ]


def _set_aside(fault: str, coverage: Coverage, trials: list[Trial]) -> list[str]:
    """Leave out points that only some runs have, if they are few; return a warning about them.

    Threads that race to make a directory make a run some ops longer or shorter. A run that succeeded before
    it reached a point does not have that point; but if many are missing, something else is wrong.
    """
    missing = [trial for trial in trials if trial.outcome is Outcome.TOO_SHORT]
    if not missing or len(missing) > coverage.chosen * _MOST_MISSING:
        for trial in missing:
            trial.outcome = Outcome.NOT_REACHED
        return []
    coverage.points, coverage.chosen = coverage.points - len(missing), coverage.chosen - len(missing)
    return [
        f"{fault}: runs differ in their number of ops; {len(missing)} points were not reached in 3 attempts"
    ]


def _note_gaps(coverage: Coverage, record: Record, trials: list[Trial]) -> None:
    """Note in the coverage why points were not tested, if any were not."""
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
        why += f"({many if record.ops else 'the run was over'}); let each run do the same, in the same order"
    if why:
        coverage.notes.clear()
        coverage.leave_out(why)
