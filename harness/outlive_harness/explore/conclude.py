"""The verdict of a scenario: what was not tested is unknown, never held."""

from __future__ import annotations

from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.record import Record
from outlive_harness.history.baseline import Baseline, known_count
from outlive_harness.results.options import Options
from outlive_harness.results.scenario import Scenario
from outlive_harness.results.verdicts import Coverage, ScenarioResult, Verdict
from outlive_harness.search.choices import left_out


def conclude(
    result: ScenarioResult,
    record: Record,
    scenario: Scenario,
    options: Options,
    baseline: Baseline | None = None,
) -> None:
    """Set the verdict of a result, and its reason.

    Args:
        result: the result.
        record: the golden run.
        scenario: the scenario.
        options: the user's choices.
        baseline: the known violations.
    """
    gaps = _gaps(result, record)
    untested = gaps or _untested(result)
    if scenario.expect:
        _conclude_expected(result, scenario, options, gaps, untested)
        return
    new, gone = (result.violations, []) if baseline is None else baseline.split(result)
    if new:
        result.verdict, result.reason = Verdict.VIOLATED, new[0].message
    elif untested:
        result.verdict, result.reason = Verdict.UNKNOWN, untested
    elif baseline is not None and gone:
        several = ", ".join(map(str, gone))
        result.verdict = Verdict.VIOLATED
        result.reason = f"gone: {several}; {baseline.path} still lists it, --update-baseline removes it"
    else:
        known = known_count(len(result.violations)) if result.violations else ""
        deeper = sum(coverage.deeper for coverage in result.faults.values())
        more = f"{deeper} deeper plans, seed {options.seed}" if deeper else ""
        parts = filter(None, (known, _notes(result), more))
        result.verdict, result.reason = Verdict.HELD, "; ".join(parts)


def cut_short(result: ScenarioResult, why: str) -> ScenarioResult:
    """Set the verdict of a scenario that was not explored to its end; return its result."""
    result.reason = why
    result.verdict = Verdict.VIOLATED if result.violations and not result.expected else Verdict.UNKNOWN
    return result


def has_gaps(result: ScenarioResult) -> bool:
    """Return whether points that should be tested were not."""
    return any(one.reason or one.tested < one.chosen for one in result.faults.values())


def _conclude_expected(
    result: ScenarioResult, scenario: Scenario, options: Options, gaps: str, untested: str
) -> None:
    """Set the verdict of a known-bad scenario: held if it shows all expected violations."""
    found = {violation.kind for violation in result.violations}
    missing = [kind for kind in scenario.expect if kind not in found]
    is_exhaustive = all(coverage.is_exhaustive for coverage in result.faults.values())
    if not missing:
        result.verdict = Verdict.HELD
        result.reason = f"known bad, and caught: {', '.join(scenario.expect)}"
    elif not gaps and left_out(options, scenario):
        result.verdict = Verdict.SKIPPED
        result.reason = (
            f"no {', '.join(missing)} by {', '.join(result.faults)} alone: the options leave out what it "
            f"also names: {left_out(options, scenario)}"
        )
    elif untested or not is_exhaustive:  # a sample or random moments may have missed it
        result.verdict = Verdict.UNKNOWN
        result.reason = gaps or f"{untested or _notes(result)}: no {', '.join(missing)} found"
    else:
        result.verdict = Verdict.VIOLATED
        result.reason = f"expected {', '.join(missing)}, but no such violation was found"


def _notes(result: ScenarioResult) -> str:
    return "; ".join(coverage.note for coverage in result.faults.values() if coverage.notes)


def _gaps(result: ScenarioResult, record: Record) -> str:
    """Return why not everything was tested that should be; "" if everything was."""
    if result.reason:
        return result.reason
    gaps = (_gap(name, coverage, record) for name, coverage in result.faults.items())
    first = next(filter(None, gaps), "")
    if first:
        return first
    tested = sum(coverage.tested for coverage in result.faults.values())
    if record.refused and any(FAULTS[name].intercepts for name in result.faults):
        tried = f"only {tested} random moments were tried instead, and none violated"
        return f"{record.refused}; {tried}; outlive doctor says what to allow"
    return ""


def _gap(name: str, coverage: Coverage, record: Record) -> str:
    if coverage.points == 0 and len(record.ops) == 0 and not record.refused:
        what = "let it write to its working directory, or to {box}, which is $OUTLIVE_BOX too"
        return f"the pipeline changes no file of its box, so it has no crash point; {what}"
    if coverage.reason:
        return f"{name}: {coverage.reason}"
    if coverage.tested < coverage.chosen:
        return coverage.note or f"{name}: {coverage.tested} of {coverage.points} points tested"
    return ""


def _untested(result: ScenarioResult) -> str:
    """Return why no crash point was tested; "" if one was."""
    if any(coverage.tested for coverage in result.faults.values()):
        return ""
    why = [FAULTS[name].no_points for name in result.faults]
    if len(why) == 1 and why[0]:
        return why[0]
    nothing = "none of the faults asked for has a crash point in this run: nothing was tested"
    return f"{nothing}; kill has one at each op"
