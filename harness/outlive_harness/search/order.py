"""The order of trials: what says most comes first, so that a part of them says as much as it can.

Faults take turns. Of one fault, crash states come before points that leave a state again; ops on outputs
before those on state and logs, and these before HOME and TMPDIR; and in turn one point of each group of
similar ones (see golden.similar), that whose state most points share first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.marks import lost_ops
from outlive_harness.golden.record import Record
from outlive_harness.golden.similar import groups
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import Plan
from outlive_harness.results.run_spec import is_private

T = TypeVar("T")

#: The classes of ops, by what they are about; the first are tried first.
OUTPUTS, STATE, PRIVATE = range(3)


@dataclass(frozen=True, slots=True)
class Told:
    """What a recording tells about the crash states of plans, before any trial.

    Attributes:
        first: plans that are known to show a violation.
        states: a digest of the files that each plan leaves, as far as it is known.
        shares: how many more points each plan stands for.
    """

    first: frozenset[Plan] = frozenset()
    states: Mapping[Plan, str] = field(default_factory=dict)
    shares: Mapping[Plan, int] = field(default_factory=dict)


def in_order(record: Record, plans: Sequence[Plan], told: Told, choose: Random | None = None) -> list[Plan]:
    """Return plans of one crash each, of one fault, in the order in which they are tried.

    Args:
        record: the golden run.
        plans: the plans, in the order of their ops.
        told: what is known of their crash states.
        choose: a seeded generator, from which it is drawn which of like plans comes first; None for the one
            that is furthest from those before it.
    """
    alike = groups(record.ops, record.fold, record.stacks)
    classes = classes_of(record)
    shares = Counter(told.states[plan] for plan in plans if plan in told.states)
    spread_out = spread(plans)
    if choose is not None:
        choose.shuffle(spread_out)
    left: set[str] = set()
    is_again: dict[Plan, bool] = {}
    for plan in spread_out:
        state = told.states.get(plan, "")
        is_again[plan] = state in left
        left |= {state} - {""}

    def importance(plan: Plan) -> tuple[bool, bool, int]:
        return plan not in told.first, is_again[plan], class_of_plan(plan, classes)

    def shared(plan: Plan) -> int:
        return shares[told.states.get(plan, "")] + told.shares.get(plan, 0)

    turns: Counter[object] = Counter()
    ranked: list[tuple[tuple[bool, bool, int], int, int, int, Plan]] = []
    for plan in sorted(spread_out, key=lambda plan: (importance(plan), -shared(plan))):
        number = min(plan[-1].at, len(alike))
        group = (importance(plan), alike[number - 1] if number else 0)
        ranked.append((importance(plan), turns[group], -shared(plan), len(ranked), plan))
        turns[group] += 1
    return [plan for *_, plan in sorted(ranked, key=lambda one: one[:-1])]


def class_of(record: Record, op: Op) -> int:
    """Return the class of an op: about an output, or about HOME and TMPDIR alone, or about anything else."""
    paths = [path for path in op.paths if path]
    if any(record.is_shown(path) for path in paths):
        return OUTPUTS
    return PRIVATE if paths and all(map(is_private, paths)) else STATE


def classes_of(record: Record) -> list[int]:
    """Return the class of each op of the golden run."""
    return [class_of(record, op) for op in record.ops]


def class_of_plan(plan: Plan, classes: Sequence[int]) -> int:
    """Return the best class of the ops around a crash: it is between two ops, and a power cut loses some."""
    point = plan[-1]
    if not FAULTS[point.fault].counts_ops:
        return STATE
    numbers = {point.at, *lost_ops(point)}
    if FAULTS[point.fault].blames == "before":
        numbers.add(point.at - 1)
    return min((classes[number - 1] for number in numbers if 0 < number <= len(classes)), default=STATE)


def by_turns(several: Sequence[Sequence[T]]) -> list[T]:
    """Return the items of several lists, one of each in turn."""
    longest = max(map(len, several), default=0)
    return [one[index] for index in range(longest) for one in several if index < len(one)]


def spread(items: Sequence[T]) -> list[T]:
    """Return items in an order in which the first *n* are spread over all of them, for any *n*.

    The last item comes first, as data that was never made durable shows at the end. Then the range is halved
    again and again, as in van der Corput's sequence.
    """
    bits = max(1, len(items) - 1).bit_length()
    indexes = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(1 << bits))
    return [items[-1 - index] for index in indexes if index < len(items)]
