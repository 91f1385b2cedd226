"""What was not judged: each report lists it, so that "held" promises no more than was tested."""

from __future__ import annotations

from collections.abc import Iterator

from outlive_harness.faults.table import FAULTS, NAMES
from outlive_harness.golden.record import Record
from outlive_harness.judge import links
from outlive_harness.results.findings import Effect, NotJudged
from outlive_harness.results.globs import matcher
from outlive_harness.results.verdicts import ScenarioResult

#: How many files are named for one reason; the others are counted.
_NAMED = 20


def note_unjudged(result: ScenarioResult, record: Record, asked: tuple[str, ...]) -> None:
    """Note in a result what was not judged.

    Args:
        result: the result.
        record: the golden run.
        asked: the faults that were asked for.
    """
    result.not_judged = list(_things(record))
    if record.spec.freeze:
        why = f"the wall clock stood still at {record.spec.freeze}"
        result.not_judged.append(NotJudged("other times", why))
    result.effects = [Effect(address, count) for address, count in sorted(record.effects.items())]
    known = [name for name in NAMES if FAULTS[name].intercepts]
    result.not_asked = tuple(name for name in known if name not in (*asked, *result.faults))


def _things(record: Record) -> Iterator[NotJudged]:
    yield from _uncompared(record)
    yield from _by_patterns(record)
    yield from _outside(record)


def _uncompared(record: Record) -> Iterator[NotJudged]:
    """Yield the outputs that are not compared."""
    if not record.spec.judge_outputs:
        yield NotJudged("all files", "not compared: there is a check, and outputs are not named")
    for path in sorted(record.uncompared)[:_NAMED]:
        why = "not compared, as it differs between golden runs"
        if not record.spec.is_settled(path):
            why += "; only checked for being visible half-written"
        yield NotJudged(path, why)
    more = len(record.uncompared) - _NAMED
    if more > 0:
        yield NotJudged(f"{more} more files", "not compared, as they differ between golden runs")


def _by_patterns(record: Record) -> Iterator[NotJudged]:
    """Yield the patterns of files that are declared not to be judged, or in part."""
    spec, tree = record.spec, {**record.initial, **record.final}
    outputs = {path: path for path, entry in tree.items() if entry.kind == "file" and spec.is_output(path)}
    outputs |= links.through(tree, spec.is_output)  # by the paths that readers use
    for pattern in spec.ignore:
        matches = matcher([pattern])
        count = sum(1 for path in record.ignored if matches(path) and path not in record.uncompared)
        if count:
            yield NotJudged(pattern, f"ignored: {count} file{'s' if count > 1 else ''} of the golden run")
    for pattern in spec.settled:
        matches = matcher([pattern])
        count = sum(1 for used, path in outputs.items() if matches(used) or matches(path))
        if count:
            what = f"settled: {count} file{'s' if count > 1 else ''}"
            yield NotJudged(pattern, f"{what}, compared after the recovery and not judged at a crash")
    if record.generations_unknown:
        why = f"of its versions only the first and the last are known: {record.generations_unknown}"
        yield from (NotJudged(pattern, why) for pattern in record.generations)


def _outside(record: Record) -> Iterator[NotJudged]:
    """Yield what no crash state can hold, or no recording."""
    for path, target in links.leading_out(record.final, record.spec.is_output).items():
        yield NotJudged(path, f"it leads to {target}, outside the box")
    for path in record.trace.outside[:_NAMED]:
        yield NotJudged(path, "outside the box, where no crash state can hold it")
    more = len(record.trace.outside) - _NAMED
    if more > 0:
        yield NotJudged(f"{more} more files", "outside the box, where no crash state can hold them")
    for path, reason in record.trace.blind:
        if path:
            yield NotJudged(path, reason)
