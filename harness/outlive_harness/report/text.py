"""Texts for people: violations, verdicts and counts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from outlive_harness.explain.causes import causes
from outlive_harness.faults.table import FAULTS
from outlive_harness.results.findings import Violation
from outlive_harness.results.plan import Plan, parse_plan, plan_text
from outlive_harness.results.verdicts import ScenarioResult, Verdict

from .escaped import quoted, visible, visible_lines
from .unjudged import not_tried, not_tried_of_each, unjudged

#: The colour of each verdict, by a name that rich and pytest know.
COLOURS = {
    Verdict.HELD: "green",
    Verdict.VIOLATED: "red",
    Verdict.UNKNOWN: "yellow",
    Verdict.SKIPPED: "cyan",
}
#: How many lines of a violation's detail are shown; the last lines of a traceback matter.
_DETAIL = 20
#: How many lines of a reason are shown after its first: the ends of two streams, and what to do.
_REASON = 35
#: How many violations of one scenario are shown in full; their boxes are kept.
_IN_FULL = 3
#: How many further violations get a line each.
_LISTED = 7
_NOTE = 60
#: How many callers of the line of an op are shown.
_FRAMES = 3
#: How many lost ops of one power cut are named.
_LOST = 6
#: How many warnings about litter are shown one by one.
_PATTERNS = 4


def replay_line(violation: Violation) -> str:
    """Return the command that carries out this failure again; "" if it needs no crash."""
    return f"outlive replay {quoted(violation.replay)}" if violation.replay else ""


def explain(violation: Violation) -> list[str]:
    """Return lines that say what was violated, where, how it differs, and how to see it again."""
    lines = [f"{violation.kind}: {visible(violation.message)}"]
    if violation.point:
        lines.append(f"  {_crash(violation)}{_elsewhere(violation)}")
    if violation.source:
        lines.append(f"  from: {visible(violation.source)}")
        lines += [f"        by way of {visible(violation.within)}"] if violation.within else []
        lines += [f"        called at {visible(frame)}" for frame in violation.stack[1:][:_FRAMES]]
    if violation.profile:
        lost = _listed(violation.lost) or "nothing: everything had reached the disk"
        kept = [f"  kept: {_listed(violation.stayed)}"] if violation.stayed else []
        lines += [f"  lost: {lost}", *kept, f"  even on a disk as: {visible(violation.profile)}"]
    if violation.rests_on:
        lines.append(f"  rests on: {violation.rests_on}")
    lines += [f"  {line}" for line in _last(visible_lines(violation.detail)) if line]
    if violation.confirmed is False:
        lines.append(
            "  seen once; a second run of the same plan did not show it (threads, time, randomness?)"
        )
    if violation.from_recording and violation.confirmed is None:
        lines.append(
            "  seen in the recording of a run alone: no trial of this plan began before the budget ended"
        )
    if violation.advice:
        lines.append(f"  advice: {visible(violation.advice)}")
    if violation.kept:
        lines.append(f"  boxes:  {visible(_from_here(violation.kept))}")
    if violation.replay:
        lines.append(f"  replay: {replay_line(violation)}")
    return lines


def _crash(violation: Violation) -> str:
    plan = parse_plan(violation.point)
    op = f", {moment(plan)}: {visible(violation.op)}" if violation.op else ""
    how = injected(violation)
    if violation.profile:  # other lines say what was lost
        return f"{how} {plan_text((*plan[:-1], plan[-1]._replace(lost=())))}{op}"
    if violation.fault and FAULTS[violation.fault].cuts_power == "real":
        journal = ", its journal just written" if plan[0].part else ""
        on = f"on a real {violation.fault}{journal}"
        return f"{how} {violation.point}, after: {visible(violation.op)}, {on}"
    return f"{how} {violation.point}{op}"


def injected(violation: Violation) -> str:
    """Return the words between a violation and its crash point."""
    is_cut = violation.profile or (violation.fault and FAULTS[violation.fault].cuts_power)
    return "power cut at" if is_cut else "injected at"


def moment(plan: Plan) -> str:
    """Return when the last fault of a plan acts on its op: before the op runs, in it, or after it."""
    fault = FAULTS[plan[-1].fault]
    if fault.cuts_power:
        return "after"
    return "before" if fault.blames == "before" else "in"


def _listed(lost: tuple[str, ...]) -> str:
    more = len(lost) - _LOST
    return "; ".join(map(visible, lost[:_LOST])) + (f"; and {more} more" if more > 0 else "")


def brief(violation: Violation) -> str:
    """Return one line that says what was violated, and where."""
    point = violation.point if len(violation.point) <= _NOTE else violation.point[: _NOTE - 3] + "..."
    where = f" at {point}{_elsewhere(violation)}" if violation.point else " with no crash"
    path = f" of {visible(violation.path)}" if violation.path else ""
    source = f", from {visible(violation.source)}" if violation.source else ""
    return f"{violation.kind}{path}{where}{source}"


def _elsewhere(violation: Violation) -> str:
    more = violation.points - 1
    return f" (and at {more} more point{'s' if more > 1 else ''})" if more > 0 else ""


def _last(lines: list[str], most: int = _DETAIL) -> list[str]:
    cut = len(lines) - most
    return lines if cut <= 0 else [f"... {cut} lines before these", *lines[cut:]]


def _from_here(path: str) -> str:
    """Return a path below the working directory as a relative one, and any other as it is."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def details(result: ScenarioResult) -> list[str]:
    """Return what a person needs to know about a scenario beyond its verdict."""
    lines: list[str] = []
    if is_no_alarm(result):
        lines += visible_lines(result.reason) if result.reason and not is_caught(result) else []
        lines += [f"as expected: {brief(violation)}" for violation in result.violations]
    else:
        if result.reason and not _is_explained(result):
            first, *detail = visible_lines(result.reason)
            lines += [first, *_last(detail, _REASON)]
        found = causes([one for one in result.violations if not one.known])
        advised: set[str] = set()
        for cause in found[:_IN_FULL]:
            advice = cause.lead.advice
            lines += explain(cause.lead if advice not in advised else replace(cause.lead, advice="as above"))
            advised |= {advice} - {""}
            lines += [f"  also: {brief(other)}" for other in cause.others[:_LISTED]]
        for cause in found[_IN_FULL:][:_LISTED]:
            lines += [brief(cause.lead), *(f"  replay: {line}" for line in [replay_line(cause.lead)] if line)]
        more = len(found) - _IN_FULL - _LISTED
        rest = f"... and {more} more violation{'s' * (more > 1)}; --json FILE lists all of them"
        lines += [rest] if more > 0 else []
        lines += [f"known: {brief(one)}" for one in result.violations if one.known]
    if result.again:
        lines.append(f"tested again: {visible(result.again)}")
    if result.regressions:
        commit = "; commit it" if os.path.isfile(result.file) else ""
        where = visible(_from_here(result.regressions))
        lines.append(f"kept in {where}: tried first from now on{commit}")
    # What a known-bad pipeline leaves behind is no news either.
    warnings = [one for one in result.warnings if not (is_no_alarm(result) and one in result.litter)]
    lines += [f"warning: {warning}" for warning in _grouped(warnings, result.litter)]
    # Where the reason is shown, it says which points were left out.
    return lines + unjudged(result, points=_is_explained(result))


def not_judged(results: Sequence[ScenarioResult]) -> list[str]:
    """Return what several verdicts do not cover, in few lines; under pytest a scenario has several results.

    Of a known-bad scenario the search ends with its proof: the points that are left are no news.
    """
    lines = [
        f"{visible(one.name)}: {text}" for one in results for text in unjudged(one, points=not is_caught(one))
    ]
    missing = not_tried(results)
    of_all = [f"not judged: faults {', '.join(missing)} (not asked for)"] if missing else []
    return [*dict.fromkeys(lines), *not_tried_of_each(results), *of_all]


def _is_explained(result: ScenarioResult) -> bool:
    """Return whether the violations are the reason; not if others were expected, or the baseline has them."""
    new = any(not one.known for one in result.violations)
    return result.verdict is Verdict.VIOLATED and new and not result.expected


def _grouped(warnings: list[str], litter: list[str]) -> list[str]:
    """Return a line for all warnings that differ only behind their first colon.

    The first few warnings about litter are lines of their own: each is about a pattern already.
    """
    groups: dict[str, list[str]] = {}
    for warning in warnings:
        is_shown = warning in litter[:_PATTERNS]
        groups.setdefault(warning if is_shown else warning.partition(": ")[0], []).append(warning)
    return [
        visible(several[0].replace("\n", "; "))
        + (f" (and {len(several) - 1} more like it)" if len(several) > 1 else "")
        for several in groups.values()
    ]


def is_caught(result: ScenarioResult) -> bool:
    """Return whether a known-bad pipeline showed what it is expected to: its violations are no alarm."""
    return bool(result.expected) and result.verdict is Verdict.HELD


def is_no_alarm(result: ScenarioResult) -> bool:
    """Return whether a scenario's violations fail nothing: it was caught, or skipped."""
    return is_caught(result) or result.verdict is Verdict.SKIPPED


def verdict_word(result: ScenarioResult) -> str:
    """Return the verdict as a table shows it; a known-bad scenario that was caught says so."""
    return f"caught {', '.join(result.expected)}" if is_caught(result) else str(result.verdict)


def counts(result: ScenarioResult) -> tuple[str, str]:
    """Return "tested/points" and the number of distinct states, over all faults."""
    several = result.faults.values()
    points, tested, states = (
        sum(getattr(one, key) for one in several) for key in ("points", "tested", "states")
    )
    return f"{tested}/{points}", str(states)


def note(result: ScenarioResult) -> str:
    """Return the last column of a table: why a scenario is not simply held."""
    if is_caught(result):
        return ""
    if _is_explained(result):
        text = ", ".join(dict.fromkeys(violation.kind for violation in result.violations))
    else:
        text = visible_lines(result.reason)[0]
    return text if len(text) <= _NOTE else text[: _NOTE - 3] + "..."


def verdict_line(results: list[ScenarioResult]) -> str:
    """Return the counts of the verdicts: "23 held (11 known bad, and caught), 1 unknown"."""
    parts = []
    for verdict in (Verdict.VIOLATED, Verdict.UNKNOWN, Verdict.HELD, Verdict.SKIPPED):
        several = [one for one in results if one.verdict is verdict]
        caught = sum(map(is_caught, several))
        if several:
            parts.append(
                f"{len(several)} {verdict}" + (f" ({caught} known bad, and caught)" if caught else "")
            )
    return ", ".join(parts) or "no scenarios"
