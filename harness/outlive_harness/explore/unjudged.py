"""What no verdict rests on: each report lists it, so that "held" promises no more than was looked at."""

from __future__ import annotations

from collections.abc import Iterator

from outlive_harness.faults import table
from outlive_harness.globs import matcher

from . import links
from .golden import Record
from .results import Effect, NotJudged, ScenarioResult

#: Files of one reason that are named; the others are counted.
_NAMED = 20


def note_unjudged(result: ScenarioResult, record: Record, asked: tuple[str, ...]) -> None:
    """Note in a result what its verdict says nothing of.

    Args:
        result: where it is noted.
        record: the golden run.
        asked: the faults that were asked for.
    """
    result.not_judged = list(_things(record))
    result.effects = [Effect(address, count) for address, count in sorted(record.effects.items())]
    known = [name for name, fault in table().items() if fault.intercepts]
    result.not_asked = tuple(name for name in known if name not in (*asked, *result.faults))


def _things(record: Record) -> Iterator[NotJudged]:
    for path in sorted(record.uncompared)[:_NAMED]:
        why = "not compared, as it differs between golden runs; judged is whether it is visible half-written"
        yield NotJudged(path, why)
    more = len(record.uncompared) - _NAMED
    if more > 0:
        yield NotJudged(f"{more} more files", "not compared, as they differ between golden runs")
    for pattern in record.subject.ignore:
        matches = matcher([pattern])
        count = sum(1 for path in record.ignored if matches(path) and path not in record.uncompared)
        if count:
            yield NotJudged(pattern, f"ignored: {count} file{'s' if count > 1 else ''} of the golden run")
    for path, target in links.leading_out(record.final, record.subject.is_output).items():
        yield NotJudged(path, f"it leads to {target}, outside of the box")
    for path in record.trace.outside[:_NAMED]:
        yield NotJudged(path, "outside of the box, where no crash state can hold it")
    more = len(record.trace.outside) - _NAMED
    if more > 0:
        yield NotJudged(f"{more} more files", "outside of the box, where no crash state can hold them")
    for path, reason in record.trace.blind:
        if path:
            yield NotJudged(path, reason)
