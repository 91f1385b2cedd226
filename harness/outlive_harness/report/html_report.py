"""The HTML report: one self-contained file, which needs no network and no server.

jinja2 escapes the text, and the encoding escapes the data of the time line: paths may hold anything.
"""

from __future__ import annotations

import json
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from outlive_harness import __version__
from outlive_harness.explain.causes import causes
from outlive_harness.results.findings import Violation
from outlive_harness.results.plan import parse_plan
from outlive_harness.results.verdicts import Exhibit, RunResult, ScenarioResult

from .escaped import visible, visible_lines
from .text import brief, counts, injected, moment, note, replay_line, verdict_line, verdict_word
from .unjudged import untried

#: Violations of one scenario that are shown; the rest are counted.
_SHOWN = 200


def as_text(result: RunResult) -> str:
    """Return the report."""
    environment = Environment(
        loader=PackageLoader("outlive_harness.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scenarios = [_scenario(number, one) for number, one in enumerate(result.scenarios)]
    return environment.get_template("report.html").render(
        version=__version__,
        verdict=str(result.verdict),
        line=verdict_line(result.scenarios),
        seed=result.seed,
        seconds=f"{result.seconds:.1f}",
        interrupted=result.interrupted,
        scenarios=scenarios,
        data=_embedded([one["data"] for one in scenarios]),
    )


def _embedded(value: object) -> str:
    """Return JSON that is safe in a script element, whatever it holds."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _scenario(number: int, one: ScenarioResult) -> dict[str, Any]:
    tested, states = counts(one)
    found = causes(one.violations)
    shown = found[:_SHOWN]
    return {
        "id": f"s{number}",
        "name": visible(one.name),
        "verdict": str(one.verdict),
        "word": verdict_word(one),
        "reason": visible_lines(one.reason) if one.reason else [],
        "note": note(one),
        "tested": tested,
        "states": states,
        "ops": one.ops,
        "seconds": f"{one.seconds:.1f}",
        "faults": [
            {
                "name": name,
                "tested": f"{coverage.tested}/{coverage.points}",
                "states": coverage.states,
                "note": "; ".join(filter(None, (coverage.profile, coverage.note, coverage.reason))),
            }
            for name, coverage in one.faults.items()
        ],
        "warnings": [visible(warning) for warning in one.warnings],
        "not_judged": [(visible(item.what), visible(item.why)) for item in (*one.not_judged, *untried(one))]
        + [(visible(effect.address), f"an effect outside: {effect.ops} calls") for effect in one.effects],
        "causes": [
            {
                "id": f"s{number}v{place}",
                **_violation(cause.lead),
                "also": [brief(other) for other in cause.others],
            }
            for place, cause in enumerate(shown)
        ],
        "more": len(found) - len(shown),
        "data": _timeline(one.exhibit, [cause.lead for cause in shown]),
    }


def _violation(one: Violation) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "message": visible(one.message) + " (the baseline lists it)" * one.known,
        "source": visible(one.source),
        "stack": [visible(frame) for frame in one.stack],
        "advice": visible(one.advice),
        "point": one.point,
        "op": visible(one.op),
        "points": one.points,
        "injected": injected(one),
        "when": moment(parse_plan(one.point)) if one.point else "",
        "profile": one.profile,
        "rests_on": one.rests_on,
        "lost": [visible(lost) for lost in one.lost],
        "stayed": [visible(kept) for kept in one.stayed],
        "within": visible(one.within),
        "detail": "\n".join(visible_lines(one.detail)),
        "left": [(visible(path), visible(what)) for path, what in one.left],
        "replay": replay_line(one),
        "unconfirmed": one.confirmed is False,
        "only_seen": one.from_recording and one.confirmed is None,
    }


def _timeline(exhibit: Exhibit | None, leads: list[Violation]) -> dict[str, Any] | None:
    """Return the data of the time line: the ops, the files that they act on, and each crash point."""
    if exhibit is None or not exhibit.ops:
        return None
    files = {path: number for number, path in enumerate(dict.fromkeys(path for path, _ in exhibit.ops))}
    sources = {text: number for number, text in enumerate(dict.fromkeys(exhibit.sources))}
    which = {one.point: number for number, one in reversed(list(enumerate(leads)))}
    return {
        "files": [visible(path) or "." for path in files],
        "sources": [visible(text) for text in sources],
        "ops": [
            [files[path], visible(text), sources[exhibit.sources[number]] if exhibit.sources else -1]
            for number, (path, text) in enumerate(exhibit.ops)
        ],
        # fault, op, plan, kinds of violations, number of the cause that it is the example of
        "points": [
            [fault, at, text, list(kinds), which.get(text, -1)]
            for fault, at, text, kinds in sorted(exhibit.points)
        ],
    }
