"""The JSON report, schema 1."""

from __future__ import annotations

import json
from typing import Any

from outlive_harness.results.findings import Violation
from outlive_harness.results.verdicts import RunResult, ScenarioResult

from .unjudged import untried

SCHEMA = 1


def as_data(result: RunResult) -> dict[str, Any]:
    """Return the report as plain data."""
    return {
        "schema": SCHEMA,
        "verdict": str(result.verdict),
        "seed": result.seed,
        "seconds": round(result.seconds, 3),
        "workers": result.workers,
        "scenarios": [scenario_data(one) for one in result.scenarios],
    }


def as_text(result: RunResult) -> str:
    """Return the report as JSON in ASCII; bytes of a path that are not UTF-8 become surrogates."""
    return json.dumps(as_data(result), indent=2, ensure_ascii=True) + "\n"


def scenario_data(one: ScenarioResult) -> dict[str, Any]:
    """Return one scenario's part of the report."""
    return {
        "name": one.name,
        "verdict": str(one.verdict),
        "reason": one.reason,
        "faults": {
            name: {"points": coverage.points, "tested": coverage.tested, "states": coverage.states}
            for name, coverage in one.faults.items()
        },
        "violations": [_violation(violation) for violation in one.violations],
        "not_judged": [{"what": item.what, "why": item.why} for item in (*one.not_judged, *untried(one))],
        "effects": [{"address": effect.address, "ops": effect.ops} for effect in one.effects],
        "warnings": list(one.warnings),
    }


_FIELDS = ("kind", "fault", "profile", "point", "op", "path", "message", "rests_on", "replay")


def _violation(violation: Violation) -> dict[str, Any]:
    data = {field: getattr(violation, field) for field in _FIELDS}
    if violation.lost:
        data["message"] += f"; lost: {'; '.join(violation.lost)}"
    data |= {"line": violation.source, "within": violation.within, "advice": violation.advice}
    data |= {"confirmed": violation.confirmed, "from_recording": violation.from_recording}
    return data | {"lost": list(violation.lost), "kept": list(violation.stayed)}
