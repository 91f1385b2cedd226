"""Power cuts on a real file system: one run with a copy of the disk before each op."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from outlive_harness.disk.realfs import RealFs, RealFsError, missing, mounted
from outlive_harness.disk.removal import remove_tree
from outlive_harness.disk.tree import tree_digest
from outlive_harness.golden.record import Record
from outlive_harness.golden.similar import distinct, groups
from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.jobs.queue import load, save
from outlive_harness.jobs.shared import alone
from outlive_harness.launch.options import RunOptions
from outlive_harness.results.ops import Op
from outlive_harness.results.plan import Point
from outlive_harness.world.runner import Runner

from .recording import with_own_box

#: Copies of the disk that one run may leave; each takes as much room as the file system has written by then.
_MOST = 400


@dataclass(slots=True)
class Done:
    """A run on a real file system.

    Attributes:
        ops: its ops.
        acks: what it acknowledged.
        said: how many of its acknowledgements came before each op, and in all.
    """

    ops: list[Op] = field(default_factory=list)
    acks: list[str] = field(default_factory=list)
    said: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Cuts:
    """What two runs left on the disk, after each of their ops.

    Attributes:
        place: the directory of the trees.
        runs: one with the disk as it was, and one whose journal was written before each copy; threads that
            race, or a poll, may make one of them longer.
        trees: the digest of each tree, by the number of ops done and the index of the run; the digest is the
            name of the tree's directory.
        reason: why there are no trees; "" if there are.
    """

    place: Path
    runs: list[Done] = field(default_factory=list)
    trees: dict[tuple[int, int], str] = field(default_factory=dict)
    reason: str = ""

    def tree(self, point: Point) -> Path | None:
        """Return the directory with the files that a power cut left; None if there is none."""
        digest = self.trees.get((point.at, point.part))
        return None if digest is None else self.place / digest

    def points(self, name: str) -> list[Point]:
        """Return the crash points: one for each distinct pair of a tree and what was acknowledged."""
        first: dict[tuple[str, int], Point] = {}
        for (number, part), digest in sorted(self.trees.items()):
            first.setdefault((digest, self.runs[part].said[number]), Point(name, number, part))
        return list(first.values())

    @property
    def most(self) -> int:
        """The number of ops of the longer run."""
        return max((len(done.ops) for done in self.runs), default=0)


def real_cuts(runner: Runner, record: Record, name: str, seed: int) -> Cuts:
    """Return the power cuts of a pipeline's first run on a file system; the recording is kept.

    Raises:
        BoxError: the box cannot be read, there is no room for a copy, ...
        OSError: there is no room for a copy of the disk.
    """
    place = record.real_disk(name)
    place.mkdir(parents=True, exist_ok=True)
    with alone(place):  # several workers try regressions at once
        if not (place / "cuts").exists():
            save(place / "cuts", _recorded(runner, record, name, Cuts(place, reason=missing(name)), seed))
    cuts = load(place / "cuts")
    assert isinstance(cuts, Cuts)
    for done in cuts.runs:
        done.acks = with_own_box(runner, done.acks)
    return cuts


def _recorded(runner: Runner, record: Record, name: str, cuts: Cuts, seed: int) -> Cuts:
    if not cuts.reason:
        runner.cool()  # a zygote does not see the mount
        try:
            _record(runner, record, name, cuts, Random(seed))
        except RealFsError as error:
            cuts.reason = str(error)
        finally:
            remove_tree(cuts.place / "images")
    return cuts


def _record(runner: Runner, record: Record, name: str, cuts: Cuts, random: Random) -> None:
    """Run twice: with the disk as it is at each op, and with its journal written just before each copy."""
    images, wanted = cuts.place / "images", _wanted(record, random)
    for part in (0, 1):
        remove_tree(images)
        images.mkdir()
        remove_tree(runner.box.path)
        ops: list[Op] = []
        with RealFs(name, cuts.place / "image", runner.box.path) as disk:
            runner.box.pour(record.template)
            disk.sync()

            def copy(number: int, disk: RealFs = disk, part: int = part) -> None:
                if part:
                    disk.commit()
                disk.snapshot(images / str(number))

            def visit(op: Op, number: int, ops: list[Op] = ops, copy: Callable[[int], None] = copy) -> Answer:
                if wanted(number - 1):
                    copy(number - 1)
                ops.append(op)
                return GO

            ran = runner.run(record.spec, RunOptions(timeout=record.limit, visit=visit, promises=True))
            copy(len(ops))
        (cuts.place / "image").unlink()
        cuts.runs.append(Done(ops, ran.acks, [*ran.said, len(ran.acks)]))
        if ran.failure():
            cuts.reason = f"on {name} the run {ran.failure()}"
            return
        _look(runner, record, name, cuts, part)


def _wanted(record: Record, random: Random) -> Callable[[int], bool]:
    """Choose the ops after which the disk is copied: all, or those that stand for similar ones."""
    count = len(record.ops)
    if count <= _MOST:
        return lambda number: number > 0
    alike = groups(record.ops, record.fold, record.stacks)
    chosen = set(distinct(range(1, count + 1), lambda number: alike[number - 1], random))
    return chosen.__contains__


def _look(runner: Runner, record: Record, name: str, cuts: Cuts, part: int) -> None:
    """Mount each copy, and keep the trees that differ."""
    images = cuts.place / "images"
    for image in sorted(images.iterdir(), key=lambda path: int(path.name)):
        with mounted(name, image, runner.box.path):
            # Ignored files are not compared, but a recovery may read them.
            digest = tree_digest(runner.box.look(record.spec, whole=True), record.fold)
            if not (cuts.place / digest).exists():
                runner.box.keep(cuts.place / digest)
        cuts.trees[int(image.name), part] = digest
        image.unlink()
