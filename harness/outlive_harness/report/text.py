"""Words for people: violations, verdicts and counts; odd names made harmless."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace

from outlive_harness.explain.causes import causes
from outlive_harness.explore.results import NotJudged, ScenarioResult, Verdict, Violation
from outlive_harness.faults import strikers
from outlive_harness.realfs import KINDS

#: Lines of a violation's detail that are shown; a traceback's last lines are the ones that matter.
_DETAIL = 20
#: Violations of one scenario that are told in full; those whose boxes are kept are among them.
_TOLD = 3
#: Further ones that get a line each.
_LISTED = 7
_NOTE = 60
#: Callers of the line that an op comes from.
_FRAMES = 3
#: Lost ops of one power cut that are named.
_LOST = 6
#: Patterns of litter that are told.
_LITTER, _PATTERNS = "litter", 4


def visible(text: str) -> str:
    """Return a text that is safe to print: control characters and bytes that are no UTF-8 escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def visible_lines(text: str) -> list[str]:
    """Return the lines of a text, each safe to print; a tab is a space."""
    return [visible(line.replace("\t", " ")) for line in text.split("\n")]


def quoted(text: str) -> str:
    """Quote a text for a shell, so that the line can be printed and pasted whatever is in it."""
    if text.isprintable():
        return shlex.quote(text)
    # $'...' of bash, ksh and zsh: the only form in which a newline or a raw byte can stand in a line.
    plain = (
        chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else f"\\x{byte:02x}"
        for byte in os.fsencode(text)
    )
    return f"$'{''.join(plain)}'"


def replay_line(violation: Violation) -> str:
    """Return the line to paste that carries out exactly this failure again; "" if it needs no crash."""
    return f"outlive replay {quoted(violation.replay)}" if violation.replay else ""


def explain(violation: Violation) -> list[str]:
    """Say in a few lines what was violated, where, how it differs, and how to see it again."""
    lines = [f"{violation.kind}: {visible(violation.message)}"]
    if violation.point:
        lines.append(f"  {_struck(violation)}{_likewise(violation)}")
    if violation.source:
        lines.append(f"  from: {visible(violation.source)}")
        lines += [f"        by way of {visible(violation.within)}"] if violation.within else []
        lines += [f"        called at {visible(frame)}" for frame in violation.stack[1:][:_FRAMES]]
    if violation.profile:
        lost = _listed(violation.lost) or "nothing: all of it had reached the disk"
        kept = [f"  kept: {_listed(violation.stayed)}"] if violation.stayed else []
        lines += [f"  lost: {lost}", *kept, f"  even on a disk as: {visible(violation.profile)}"]
    if violation.rests_on:
        lines.append(f"  rests on: {violation.rests_on}")
    lines += [f"  {line}" for line in _last(visible_lines(violation.detail)) if line]
    if violation.confirmed is False:
        lines.append(
            "  seen once; a second run of the same plan did not show it (threads, time, randomness?)"
        )
    if violation.advice:
        lines.append(f"  advice: {visible(violation.advice)}")
    if violation.kept:
        lines.append(f"  boxes:  {visible(_from_here(violation.kept))}")
    if violation.replay:
        lines.append(f"  replay: {replay_line(violation)}")
    return lines


def _struck(violation: Violation) -> str:
    if violation.profile:  # what was lost is told in words
        crashes = violation.point.split("+")
        crashes[-1] = crashes[-1].partition("-")[0]
        op = f", {moment(violation.point)}: {visible(violation.op)}" if violation.op else ""
        return f"power cut at {'+'.join(crashes)}{op}"
    if violation.fault in KINDS:
        journal = ", its journal just written" if "." in violation.point.partition("+")[0] else ""
        on = f"on a real {violation.fault}{journal}"
        return f"power cut at {violation.point}, after: {visible(violation.op)}, {on}"
    op = f", {moment(violation.point)}: {visible(violation.op)}" if violation.op else ""
    return f"struck at {violation.point}{op}"


def moment(point: str) -> str:
    """Say when a plan's last fault strikes the op that it names: before it runs, in it, or after it."""
    fault = strikers().get(point.rpartition("+")[2].partition("@")[0])
    if fault is None:  # the power is cut
        return "after"
    return "before" if fault.blames == "before" else "in"


def _listed(lost: tuple[str, ...]) -> str:
    more = len(lost) - _LOST
    return "; ".join(map(visible, lost[:_LOST])) + (f"; and {more} more" if more > 0 else "")


def brief(violation: Violation) -> str:
    """Say in one line what was violated, and where."""
    point = violation.point if len(violation.point) <= _NOTE else violation.point[: _NOTE - 3] + "..."
    where = f" at {point}{_likewise(violation)}" if violation.point else " with no crash"
    path = f" of {visible(violation.path)}" if violation.path else ""
    source = f", from {visible(violation.source)}" if violation.source else ""
    return f"{violation.kind}{path}{where}{source}"


def _likewise(violation: Violation) -> str:
    more = violation.points - 1
    return f" (and at {more} more point{'s' if more > 1 else ''})" if more > 0 else ""


def _last(lines: list[str]) -> list[str]:
    cut = len(lines) - _DETAIL
    return lines if cut <= 0 else [f"... {cut} lines before these", *lines[cut:]]


def _from_here(path: str) -> str:
    """Shorten a path below the working directory; one elsewhere is clearer whole."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def details(result: ScenarioResult) -> list[str]:
    """Return what a person needs to know of a scenario beyond its verdict."""
    lines: list[str] = []
    if is_no_alarm(result):
        lines += visible_lines(result.reason) if result.reason and not is_caught(result) else []
        lines += [f"as expected: {brief(violation)}" for violation in result.violations]
    else:
        if result.reason and not _is_told(result):
            lines += _last(visible_lines(result.reason))
        found = causes([one for one in result.violations if not one.known])
        advised: set[str] = set()
        for cause in found[:_TOLD]:
            advice = cause.lead.advice
            lines += explain(cause.lead if advice not in advised else replace(cause.lead, advice="as above"))
            advised |= {advice} - {""}
            lines += [f"  also: {brief(other)}" for other in cause.others[:_LISTED]]
        for cause in found[_TOLD:][:_LISTED]:
            lines += [brief(cause.lead), *(f"  replay: {line}" for line in [replay_line(cause.lead)] if line)]
        more = len(found) - _TOLD - _LISTED
        rest = f"... and {more} more violation{'s' * (more > 1)}; --json FILE lists all of them"
        lines += [rest] if more > 0 else []
        lines += [f"known: {brief(one)}" for one in result.violations if one.known]
    lines += unjudged(result)
    if result.again:
        lines.append(f"tested again: {visible(result.again)}")
    if result.corpus:
        commit = "; commit it" if os.path.isfile(result.file) else ""
        where = visible(_from_here(result.corpus))
        lines.append(f"kept in {where}: struck first from now on{commit}")
    # What a bad pipeline leaves behind is no news either.
    warnings = [one for one in result.warnings if not (is_no_alarm(result) and one.startswith("litter: "))]
    return lines + [f"warning: {warning}" for warning in _grouped(warnings)]


def untried(result: ScenarioResult) -> list[NotJudged]:
    """Return what was not tried: crash points that were left out, and faults that nobody asked for."""
    found = [
        NotJudged(
            f"{coverage.points - coverage.tested} of {coverage.points} crash points of {name}",
            coverage.reason or coverage.label or "not tried",
        )
        for name, coverage in result.faults.items()
        if coverage.tested < coverage.points
    ]
    if result.not_asked:
        found.append(NotJudged(f"faults {', '.join(result.not_asked)}", "not asked for"))
    return found


def unjudged(result: ScenarioResult) -> list[str]:
    """Return lines that say what the verdict says nothing of, without points and faults: see untried()."""
    found = [f"{visible(one.what)} ({visible(one.why)})" for one in result.not_judged]
    lines = [f"not judged: {'; '.join(found)}"] if found else []
    effects = [f"{visible(one.address)} ({one.ops} call{'s' * (one.ops != 1)})" for one in result.effects]
    if effects:
        what = "what was done there, once or several times, no check looks at"
        lines.append(f"not judged: effects at {', '.join(effects)}: {what}")
    return lines


def _is_told(result: ScenarioResult) -> bool:
    """Tell whether the violations are the reason; not so where others were expected, or these known."""
    new = any(not one.known for one in result.violations)
    return result.verdict is Verdict.VIOLATED and new and not result.expected


def _grouped(warnings: list[str]) -> list[str]:
    """Say a thing once: warnings that differ only behind their first colon become one line.

    Litter is a line a pattern already, and the first few of these are told.
    """
    groups: dict[str, list[str]] = {}
    for warning in warnings:
        what = warning.partition(": ")[0]
        is_told = what == _LITTER and sum(key.startswith(_LITTER) for key in groups) < _PATTERNS
        groups.setdefault(warning if is_told else what, []).append(warning)
    return [
        visible(several[0].replace("\n", "; "))
        + (f" (and {len(several) - 1} more like it)" if len(several) > 1 else "")
        for several in groups.values()
    ]


def is_caught(result: ScenarioResult) -> bool:
    """Tell whether a pipeline that is known to be bad was found out: then its violations are no alarm."""
    return bool(result.expected) and result.verdict is Verdict.HELD


def is_no_alarm(result: ScenarioResult) -> bool:
    """Tell whether what a scenario violates fails nothing: it was caught, or was not asked for in full."""
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
    """Return what a table's last column says: why it is not simply held."""
    if is_caught(result):
        return ""
    if _is_told(result):
        text = ", ".join(dict.fromkeys(violation.kind for violation in result.violations))
    else:
        text = visible_lines(result.reason)[0]
    return text if len(text) <= _NOTE else text[: _NOTE - 3] + "..."


def verdict_line(results: list[ScenarioResult]) -> str:
    """Count the verdicts: "23 held (11 of them known bad, and caught), 1 unknown"."""
    parts = []
    for verdict in (Verdict.VIOLATED, Verdict.UNKNOWN, Verdict.HELD, Verdict.SKIPPED):
        several = [one for one in results if one.verdict is verdict]
        caught = sum(map(is_caught, several))
        if several:
            parts.append(
                f"{len(several)} {verdict}" + (f" ({caught} known bad, and caught)" if caught else "")
            )
    return ", ".join(parts) or "no scenarios"
