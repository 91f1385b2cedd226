"""What verdicts do not cover, as each report lists it at its end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from outlive_harness.results.findings import NotJudged
from outlive_harness.results.verdicts import ScenarioResult

from .escaped import visible

#: How many scenarios are named for one list of faults.
_NAMED = 3


def untried(result: ScenarioResult) -> list[NotJudged]:
    """Return what was not tested: crash points that were left out, and faults that were not asked for."""
    faults = [NotJudged(_faults(result.not_asked), "not asked for")] if result.not_asked else []
    return [*_points(result), *faults]


def _points(result: ScenarioResult) -> list[NotJudged]:
    return [
        NotJudged(
            f"{coverage.points - coverage.tested} of {coverage.points} crash points of {name}",
            coverage.reason or coverage.note or "not tried",
        )
        for name, coverage in result.faults.items()
        if coverage.tested < coverage.points
    ]


def _faults(names: Sequence[str]) -> str:
    return f"fault{'s' * (len(names) > 1)} {', '.join(names)}"


def unjudged(result: ScenarioResult, *, points: bool = True) -> list[str]:
    """Return lines that say what a verdict does not cover, except faults.

    Args:
        result: the scenario's result.
        points: whether to list crash points that were left out.
    """
    things = [*result.not_judged, *(_points(result) if points else [])]
    found = [f"{visible(one.what)} ({visible(one.why)})" for one in things]
    lines = [f"not judged: {'; '.join(found)}"] if found else []
    effects = [f"{visible(one.address)} ({one.ops} call{'s' * (one.ops != 1)})" for one in result.effects]
    if effects:
        what = "no check looks at what was done there, once or several times"
        lines.append(f"not judged: effects at {', '.join(effects)}: {what}")
    return lines


def not_tried(results: Sequence[ScenarioResult]) -> list[str]:
    """Return the faults that no scenario was tested with."""
    several = [one.not_asked for one in results if one.faults]
    return [name for name in several[0] if all(name in others for others in several)] if several else []


def not_tried_of_each(results: Sequence[ScenarioResult]) -> list[str]:
    """Return lines that name the faults that some scenarios were not tested with, and others were."""
    common = set(not_tried(results))
    names: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, faults in _by_name(results).items():
        left = tuple(fault for fault in faults if fault not in common)
        if left:
            names[left].append(visible(name))
    return [
        f"not judged: {_faults(faults)} (not asked for) in {', '.join(several[:_NAMED])}"
        + (f" and {len(several) - _NAMED} more" if len(several) > _NAMED else "")
        for faults, several in names.items()
    ]


def of_all(results: Sequence[ScenarioResult]) -> list[str]:
    """Return a line for all that each verdict does not cover; under pytest a scenario has several results."""
    lines = [f"{visible(one.name)}: {text}" for one in results for text in unjudged(one)]
    lines += [
        f"{visible(name)}: not judged: {_faults(faults)} (not asked for)"
        for name, faults in _by_name(results).items()
        if faults
    ]
    return list(dict.fromkeys(lines))


def _by_name(results: Sequence[ScenarioResult]) -> dict[str, tuple[str, ...]]:
    """Return, for each scenario, the faults that none of its results was tested with."""
    found: dict[str, tuple[str, ...]] = {}
    for one in results:
        if one.faults:
            before = found.get(one.name, one.not_asked)
            found[one.name] = tuple(fault for fault in before if fault in one.not_asked)
    return found
