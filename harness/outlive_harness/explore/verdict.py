"""One verdict from all that was seen: what was not tested is unknown, never held."""

from __future__ import annotations

from outlive_harness.faults import every
from outlive_harness.scenario import Scenario

from .baseline import known_count
from .golden import Record
from .options import Options
from .results import Coverage, ScenarioResult, Verdict


def conclude(result: ScenarioResult, record: Record, scenario: Scenario, options: Options) -> None:
    """Give the verdict: what was not tested is unknown, never held."""
    gaps = _gaps(result, record)
    untested = gaps or _untested(result)
    label = "; ".join(coverage.label for coverage in result.faults.values() if coverage.label)
    if scenario.expect:
        _conclude_expected(result, scenario, options, gaps, untested or label)
        return
    baseline = options.baseline
    new, gone = (result.violations, []) if baseline is None else baseline.split(result)
    if new:
        result.verdict, result.reason = Verdict.VIOLATED, new[0].message
    elif untested:
        result.verdict, result.reason = Verdict.UNKNOWN, untested
    elif baseline is not None and gone:
        several = ", ".join(map(str, gone))
        result.verdict = Verdict.VIOLATED
        result.reason = f"gone: {several}; {baseline.path} still lists it, --update-baseline takes it out"
    else:
        known = known_count(len(result.violations)) if result.violations else ""
        deeper = sum(coverage.deeper for coverage in result.faults.values())
        more = f"{deeper} deeper plans, seed {options.seed}" if deeper else ""
        result.verdict, result.reason = Verdict.HELD, "; ".join(filter(None, (known, label, more)))


def none_asked_for(scenario: Scenario, options: Options) -> str:
    """Say why a scenario is skipped: of its faults none was asked for; "" if one was."""
    if options.faults_of(scenario):
        return ""
    its, asked = ", ".join(scenario.faults or ()), ", ".join(options.faults or ())
    return f"of its faults ({its}) none was asked for ({asked})"


def _conclude_expected(
    result: ScenarioResult, scenario: Scenario, options: Options, gaps: str, label: str
) -> None:
    found = {violation.kind for violation in result.violations}
    missing = [kind for kind in scenario.expect if kind not in found]
    if not missing:
        result.verdict = Verdict.HELD
        result.reason = f"known bad, and caught: {', '.join(scenario.expect)}"
    elif not gaps and options.left_out(scenario):
        result.verdict = Verdict.SKIPPED
        result.reason = (
            f"no {', '.join(missing)} by {', '.join(result.faults)} alone: the options leave out what it "
            f"names beside that: {options.left_out(scenario)}"
        )
    elif label:  # a sample or random moments may have missed it
        result.verdict = Verdict.UNKNOWN
        result.reason = gaps or f"{label}: no {', '.join(missing)} found"
    else:
        result.verdict = Verdict.VIOLATED
        result.reason = f"expected {', '.join(missing)}, but no such violation was found"


def _gaps(result: ScenarioResult, record: Record) -> str:
    if result.reason:
        return result.reason
    gaps = (_gap(name, coverage, record) for name, coverage in result.faults.items())
    first = next(filter(None, gaps), "")
    if first:
        return first
    tested = sum(coverage.tested for coverage in result.faults.values())
    if record.refused and any(every()[name].intercepts for name in result.faults):
        return f"{record.refused}; only {tested} random moments were tried instead, and none violated"
    return ""


def _untested(result: ScenarioResult) -> str:
    """Say why no fault came to a point; "" if one did."""
    if any(coverage.tested for coverage in result.faults.values()):
        return ""
    if list(result.faults) == ["torn"]:
        return (
            "torn: no write of this run goes past the end of a page of its file, so no kill can cut one; "
            "--torn bytes (torn='bytes' of a scenario) cuts at any byte: nothing was tested"
        )
    return "none of the faults asked for came to a point of this run: nothing was tested"


def _gap(name: str, coverage: Coverage, record: Record) -> str:
    if coverage.points == 0 and len(record.ops) == 0 and not record.refused:
        return "the pipeline changes no file of its box: there is no point to strike at"
    if coverage.reason:
        return f"{name}: {coverage.reason}"
    if coverage.tested < coverage.chosen:
        return coverage.label or f"{name}: {coverage.tested} of {coverage.points} points tested"
    return ""
