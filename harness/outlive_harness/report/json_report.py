"""The JSON report, schema 1 of the design: for machines."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from outlive_harness.explore.results import RunResult, ScenarioResult, Violation

SCHEMA = 1


def as_data(result: RunResult) -> dict[str, Any]:
    """Return the report as plain data."""
    return {
        "schema": SCHEMA,
        "verdict": str(result.verdict),
        "seed": result.seed,
        "seconds": round(result.seconds, 3),
        "scenarios": [_scenario(one) for one in result.scenarios],
    }


def as_text(result: RunResult) -> str:
    """Return the report as a JSON text of ASCII: paths that are not UTF-8 keep their bytes as surrogates."""
    return json.dumps(as_data(result), indent=2, ensure_ascii=True) + "\n"


def write(result: RunResult, path: Path) -> None:
    """Write the report to a file, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(as_text(result))
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def _scenario(one: ScenarioResult) -> dict[str, Any]:
    return {
        "name": one.name,
        "verdict": str(one.verdict),
        "reason": one.reason,
        "faults": {
            name: {"points": coverage.points, "tested": coverage.tested, "states": coverage.states}
            for name, coverage in one.faults.items()
        },
        "violations": [_violation(violation) for violation in one.violations],
        "warnings": list(one.warnings),
    }


_FIELDS = ("kind", "fault", "profile", "point", "op", "path", "message", "replay")


def _violation(violation: Violation) -> dict[str, Any]:
    return {field: getattr(violation, field) for field in _FIELDS}
