"""A sample of crash points with a point for each output, if it is large enough.

A file that is written in place is half-written only at points on its own ops: a sample without such a point
says nothing about it, however large it is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.marks import lost_ops
from outlive_harness.golden.record import Record
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import Plan

#: How many outputs without a point are named.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample of plans.

    Attributes:
        plans: the plans, in their order.
        left_out: outputs of which no op has a point in the sample, though there is one.
        enough: how many points are needed for all outputs.
    """

    plans: list[Plan]
    left_out: tuple[str, ...] = ()
    enough: int = 0

    @property
    def gap(self) -> str:
        """The outputs without a point, in words; "" if each output has one."""
        if not self.left_out:
            return ""
        more = len(self.left_out) - _NAMED
        names = ", ".join(self.left_out[:_NAMED]) + (f" and {more} more outputs" if more > 0 else "")
        return (
            f"none of the {len(self.plans)} points of the sample is on an op of {names}; "
            f"{self.enough} points have one for each output"
        )


def sampled(
    record: Record, plans: Sequence[Plan], count: int, choose: Random, *, alike: Sequence[Hashable] = ()
) -> Sample:
    """Draw *count* plans of one crash each: first one for each output, then any.

    Args:
        record: the golden run.
        plans: all plans.
        count: the size of the sample.
        choose: a seeded generator.
        alike: for each op, a key that it shares with similar ops, of which one stands for all; empty if there
            are no similar ops.
    """
    wanted = _by_output(record, plans, alike)
    picked = _picked(wanted, choose)
    taken = set(picked[:count])
    rest = [index for index in range(len(plans)) if index not in taken]
    taken.update(choose.sample(rest, min(len(rest), count - len(taken))))
    left_out = tuple(path for path, ranks in sorted(wanted.items()) if taken.isdisjoint(ranks))
    return Sample([plans[index] for index in sorted(taken)], left_out, len(picked))


def _picked(wanted: Mapping[str, Mapping[int, int]], choose: Random) -> list[int]:
    """Pick a plan of the best rank for each output; one plan may serve several outputs."""
    picked: dict[int, None] = {}
    several = sorted(wanted)
    choose.shuffle(several)
    for path in several:
        ranks = wanted[path]
        best = min(ranks.values())
        indexes = [index for index, rank in ranks.items() if rank == best]
        if picked.keys().isdisjoint(indexes):
            picked[choose.choice(indexes)] = None
    return list(picked)


def _by_output(record: Record, plans: Sequence[Plan], alike: Sequence[Hashable]) -> dict[str, dict[int, int]]:
    """Return, for each output, the indexes of the plans on its ops, each with a rank.

    The lowest rank shows most: a crash between two changes of the content, or a power cut that loses data.
    """
    classes: Sequence[Hashable] = alike or range(len(record.ops))
    outputs = _outputs(record)
    ranks: dict[Hashable, dict[str, int]] = defaultdict(dict)
    seen: set[str] = set()
    for op, one in zip(record.ops, classes, strict=True):
        for path in _changed(op, record.fold, outputs):
            rank = 2 if path not in seen else int(not op.changes_content)
            ranks[one][path] = min(rank, ranks[one].get(path, rank))
            seen.add(path)
    found: dict[str, dict[int, int]] = defaultdict(dict)
    for index, plan in enumerate(plans):
        point = plan[-1]
        for number in (point.at, *lost_ops(point)):
            if number > len(classes):
                continue
            for path, rank in ranks.get(classes[number - 1], {}).items():
                here = int(not point.lost) if FAULTS[point.fault].cuts_power == "model" else rank
                found[path][index] = min(here, found[path].get(index, here))
    return found


def _changed(op: Op, fold: Callable[[str], str], outputs: Sequence[str]) -> Iterator[str]:
    """Yield those of the sorted outputs that an op names, or that are below a renamed directory."""
    if not op.changes_files:
        return
    for path in map(fold, op.paths):
        at = bisect_left(outputs, path)
        if outputs[at : at + 1] == [path]:
            yield path
        elif op.kind == "rename":
            at = bisect_left(outputs, f"{path}/")
            while at < len(outputs) and outputs[at].startswith(f"{path}/"):
                yield outputs[at]
                at += 1


def _outputs(record: Record) -> list[str]:
    """Return the judged paths of a run: files and links that exist at its end, or were whole before."""
    is_output = record.spec.is_output
    left = {path for path, entry in record.final.items() if entry.kind != "dir" and is_output(path)}
    return sorted({record.fold(path) for path in left | record.versions.keys()})
