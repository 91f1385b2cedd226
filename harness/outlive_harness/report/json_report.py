"""The JSON report, schema 1 of the design: for machines."""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from outlive import atomic_write
from outlive_harness.explore.results import RunResult, ScenarioResult, Violation

SCHEMA = 1


def as_data(result: RunResult) -> dict[str, Any]:
    """Return the report as plain data."""
    return {
        "schema": SCHEMA,
        "verdict": str(result.verdict),
        "seed": result.seed,
        "seconds": round(result.seconds, 3),
        "scenarios": [scenario_data(one) for one in result.scenarios],
    }


def as_text(result: RunResult) -> str:
    """Return the report as a JSON text of ASCII: paths that are not UTF-8 keep their bytes as surrogates."""
    return json.dumps(as_data(result), indent=2, ensure_ascii=True) + "\n"


def check_target(path: Path) -> None:
    """Find out that the report cannot be written before the work that it is about is done.

    Raises:
        OSError: it cannot; ``strerror`` says why.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if _is_stream(path):
        # Not opened yet: closing it again would be the end of the stream for who reads it.
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    else:
        with tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(path))):
            pass


def write(result: RunResult, path: Path) -> None:
    """Write the report to a file, whole or not at all; to a pipe or a device as it comes.

    Raises:
        OSError: it cannot be written.
    """
    if _is_stream(path):
        path.write_text(as_text(result))
    else:
        atomic_write(path, as_text(result))


def _is_stream(path: Path) -> bool:
    """Tell what must not be replaced by a file: ``/dev/null``, a FIFO, ``>(command)`` of a shell."""
    return path.exists() and not path.is_dir() and not stat.S_ISREG(path.stat().st_mode)


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
        "warnings": list(one.warnings),
    }


_FIELDS = ("kind", "fault", "profile", "point", "op", "path", "message", "replay")


def _violation(violation: Violation) -> dict[str, Any]:
    data = {field: getattr(violation, field) for field in _FIELDS}
    if violation.lost:
        data["message"] += f"; lost: {'; '.join(violation.lost)}"
    return data
