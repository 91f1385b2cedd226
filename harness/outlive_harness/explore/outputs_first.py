"""A sample of crash points that leaves no output out, where it is large enough for that.

A file that is written in place is seen half-written by points on its own ops alone: a sample without one says
nothing of it, however large it is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from outlive_harness.plan import Plan, Point
from outlive_harness.trace import INSTALLS, WRITES, Op

from .golden import Record
from .twins import changes_files

#: Kinds that change a file's content: between two of them it may be there in part.
_CONTENT = WRITES | {"truncate", "fallocate"}
#: Outputs that are named where a sample has no point for them.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """What is struck of all that could be.

    Attributes:
        plans: they, in their order.
        left_out: outputs without a point on an op of their own, though there is one.
        enough: how many points have one for each.
    """

    plans: list[Plan]
    left_out: tuple[str, ...] = ()
    enough: int = 0

    @property
    def gap(self) -> str:
        """Say which outputs it says nothing of; "" if it has a point for each."""
        if not self.left_out:
            return ""
        more = len(self.left_out) - _NAMED
        names = ", ".join(self.left_out[:_NAMED]) + (f" and {more} more outputs" if more > 0 else "")
        return (
            f"of the {len(self.plans)} points of the sample none is on an op of {names}; "
            f"{self.enough} have one for each output"
        )


def sampled(
    record: Record, plans: Sequence[Plan], count: int, choose: Random, *, alike: Sequence[Hashable] = ()
) -> Sample:
    """Draw so many plans of one crash each: first one for each output, then whatever.

    Args:
        record: the golden run.
        plans: what there is to be struck.
        count: how many are wanted.
        choose: decides; seeded.
        alike: for each op, what it has in common with those that one point stands for; left out where each
            stands for itself.
    """
    wanted = _by_output(record, plans, alike)
    picked = _picked(wanted, choose)
    taken = set(picked[:count])
    rest = [place for place in range(len(plans)) if place not in taken]
    taken.update(choose.sample(rest, min(len(rest), count - len(taken))))
    left_out = tuple(path for path, ranks in sorted(wanted.items()) if taken.isdisjoint(ranks))
    return Sample([plans[place] for place in sorted(taken)], left_out, len(picked))


def _picked(wanted: Mapping[str, Mapping[int, int]], choose: Random) -> list[int]:
    """Pick plans until each output has one: of the best rank, one that others have is not picked twice."""
    picked: dict[int, None] = {}
    several = sorted(wanted)
    choose.shuffle(several)
    for path in several:
        ranks = wanted[path]
        best = min(ranks.values())
        places = [place for place, rank in ranks.items() if rank == best]
        if picked.keys().isdisjoint(places):
            picked[choose.choice(places)] = None
    return list(picked)


def _by_output(record: Record, plans: Sequence[Plan], alike: Sequence[Hashable]) -> dict[str, dict[int, int]]:
    """Return, by output, the places of the plans that are on an op of its own, each with its rank.

    The least rank shows most: a crash between two changes of its content, a power cut that loses something.
    """
    classes: Sequence[Hashable] = alike or range(len(record.ops))
    outputs = _outputs(record)
    ranks: dict[Hashable, dict[str, int]] = defaultdict(dict)
    seen: set[str] = set()
    for op, one in zip(record.ops, classes, strict=True):
        for path in _changed(op, record.fold, outputs):
            rank = 2 if path not in seen else int(op.kind not in _CONTENT)
            ranks[one][path] = min(rank, ranks[one].get(path, rank))
            seen.add(path)
    found: dict[str, dict[int, int]] = defaultdict(dict)
    for place, plan in enumerate(plans):
        point = plan[-1]
        for number in _numbers(point):
            if number > len(classes):
                continue
            for path, rank in ranks.get(classes[number - 1], {}).items():
                here = rank if point.fault != "power" else int(not point.lost)
                found[path][place] = min(here, found[path].get(place, here))
    return found


def _numbers(point: Point) -> Iterator[int]:
    """Yield the numbers of the ops that a point is on: that it strikes, or that a power cut loses."""
    yield point.at
    for name in point.lost:
        yield int(name.partition(".")[0])


def _changed(op: Op, fold: Callable[[str], str], outputs: Sequence[str]) -> Iterator[str]:
    """Yield those of the outputs, which are sorted, that an op changes: that it names, or all below."""
    if not changes_files(op):
        return
    for path in [fold(op.path)] + [fold(op.target)] * (op.kind in INSTALLS):
        at = bisect_left(outputs, path)
        if outputs[at : at + 1] == [path]:
            yield path
        elif op.kind == "rename":
            at = bisect_left(outputs, f"{path}/")
            while at < len(outputs) and outputs[at].startswith(f"{path}/"):
                yield outputs[at]
                at += 1


def _outputs(record: Record) -> list[str]:
    """Return what is judged of a run: files and links that are there at its end, or were whole before."""
    is_output = record.subject.is_output
    left = {path for path, entry in record.final.items() if entry.kind != "dir" and is_output(path)}
    return sorted({record.fold(path) for path in left | record.versions.keys()})
