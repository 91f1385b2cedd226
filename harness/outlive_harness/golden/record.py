"""The record of a golden run: what is known of a pipeline before a fault is injected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from outlive_harness.disk.tree import Tree
from outlive_harness.judge.sets import Version
from outlive_harness.launch.zygote import Preload
from outlive_harness.results.findings import Finding
from outlive_harness.results.ops import Op, Trace
from outlive_harness.results.run_spec import RunSpec

from .advice.cures import Cure

#: The least number of seconds that a run after the golden one may take.
SHORTEST_LIMIT = 30.0
#: Names of subdirectories: where trials claim and keep crash states, and note those that recover.
_STATES, _RECOVERED = "states-", "recovered"


class UntestableError(Exception):
    """There is nothing to compare trials with; the message says why, and what to do.

    Args:
        reason: the message.
        cures: what the user may declare so that there is.
        is_misuse: whether the scenario asks for something that cannot be.
    """

    def __init__(self, reason: str, cures: Sequence[Cure] = (), *, is_misuse: bool = False) -> None:
        super().__init__(reason)
        self.cures, self.is_misuse = tuple(cures), is_misuse


@dataclass(slots=True)
class Record:
    """The record of a golden run.

    Attributes:
        spec: the pipeline.
        place: the directory that holds everything; see the properties.
        reason: why nothing can be tested, and the verdict is unknown; "" if it can.
        cures: what the user may declare so that it can.
        is_misuse: whether the reason is an error of use.
        unmet: the patterns of outputs that judge nothing, if they are the reason.
        trace: the ops of the first run.
        least_ops: the fewest ops that a golden run made.
        initial: the files before the run.
        shared: very large files of the template that no op names: boxes share one copy of each.
        final: the files after it.
        versions: digests of every whole content, by output path.
        varying: outputs whose intermediate contents differ between golden runs.
        stable: paths that both golden runs used.
        led_to: paths of the box that symbolic links lead to.
        uncompared: ignored outputs that differ from run to run, as the first run left them: they are judged
            only by whether they are visible half-written.
        signals: for each op, the signals that do not end the run before it, as bits: those that are caught,
            blocked or ignored (proc_pid_status(5)), or all of them if another process is alive too.
        is_alone: whether the first thread of the first process made all intercepted calls.
        has_order: whether the golden runs made the same ops in the same order.
        shapes: names that differ from run to run, by (directory, length): the prefix and the suffix around
            their random part.
        value: the check's value after the run.
        acks: what the run acknowledged.
        findings: violations that need no crash: ``not-idempotent``.
        warnings: what a person should know besides.
        reads: paths outside its box that the first run, its setup or its check opened or executed.
        stacks: the stack of each op in the program; empty if they are unknown.
        preload: what a zygote imports beforehand; None if each trial is an exec.
        check_preloads: the same for its checks, by role: see launch.pool.
        generations: the versions of each set of files that belong together, by its declaration; the first is
            that from before the run.
        generations_unknown: why only the first and the last of them are known; "" if all are.
        refused: why calls could not be intercepted; "" if they were.
        ignored: ignored files that the golden run left.
        effects: the addresses that the run connected or sent to, with the number of calls.
        seconds: wall time of the longer golden run.
        limit: seconds that any later run may take.
        ended: when the first run had ended, in seconds since the epoch.
        busy: how many processors the first run kept busy on average, with its supervisor.
        idle: the share of the machine's processors that was idle meanwhile.
        memory: bytes of memory that its largest process used, at most.
    """

    spec: RunSpec
    place: Path
    reason: str = ""
    cures: tuple[Cure, ...] = ()
    is_misuse: bool = False
    unmet: tuple[str, ...] = ()
    trace: Trace = field(default_factory=Trace)
    least_ops: int = 0
    initial: Tree = field(default_factory=dict)
    shared: tuple[str, ...] = ()
    final: Tree = field(default_factory=dict)
    versions: dict[str, set[str]] = field(default_factory=dict)
    varying: set[str] = field(default_factory=set)
    stable: set[str] = field(default_factory=set)
    led_to: frozenset[str] = frozenset()
    uncompared: Tree = field(default_factory=dict)
    signals: list[int] = field(default_factory=list)
    is_alone: bool = False
    has_order: bool = False
    shapes: dict[tuple[str, int], set[tuple[str, str]]] = field(default_factory=dict)
    value: str = ""
    acks: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    stacks: list[str] = field(default_factory=list)
    preload: Preload | None = None
    check_preloads: dict[str, Preload] = field(default_factory=dict)
    generations: dict[str, list[Version]] = field(default_factory=dict)
    generations_unknown: str = ""
    refused: str = ""
    ignored: list[str] = field(default_factory=list)
    effects: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    limit: float = SHORTEST_LIMIT
    ended: float = 0.0
    busy: float = 1.0
    idle: float = 0.0
    memory: int = 0

    # -- its directories -----------------------------------------------------------------------------

    @property
    def template(self) -> Path:
        """The directory with the files that each box starts with."""
        return template_of(self.place)

    @property
    def golden(self) -> Path:
        """The directory with the files that the golden run left."""
        return self.place / "golden"

    def recordings(self, *, by_exec: bool) -> Path:
        """Return the directory of recordings, one for those by exec and one for those from a zygote."""
        return self.place / ("recordings-exec" if by_exec else "recordings")

    def recovered(self, *, by_exec: bool) -> Path:
        """Return the directory in which states that recover are noted."""
        return self.place / (f"{_RECOVERED}-exec" if by_exec else _RECOVERED)

    def states(self, name: str) -> Path:
        """Return the directory in which the crash states of one search are claimed and kept."""
        return self.place / f"{_STATES}{name}"

    def real_disk(self, name: str) -> Path:
        """Return the directory of the files that power cuts on a real file system left."""
        return self.place / "real" / name

    # -- facts about paths ---------------------------------------------------------------------------

    @property
    def ops(self) -> list[Op]:
        """The ops of the golden run."""
        return self.trace.ops

    def is_shown(self, path: str) -> bool:
        """Return whether readers may see a path's content, under its own name or through a link."""
        return self.spec.is_output(path) or path in self.uncompared or self.is_led_to(path)

    def is_in_sets(self, path: str) -> bool:
        """Return whether a path can be in a set of files that belong together."""
        return self.spec.is_output(path) and not self.spec.is_settled(path)

    def is_watched(self, path: str) -> bool:
        """Return whether the golden runs note a path's whole contents."""
        return self.spec.is_output(path) or self.spec.is_named(path) or self.is_led_to(path)

    def is_led_to(self, path: str) -> bool:
        """Return whether a link of the box may have led to a path, or to a directory above it."""
        return any(path == one or path.startswith(f"{one}/") for one in self.led_to)

    def compared(self, tree: Tree) -> Tree:
        """Return a tree without what is ignored, as Box.look() leaves it out."""
        if not self.spec.ignore:
            return tree
        return {path: entry for path, entry in tree.items() if not self.spec.is_ignored(path)}

    def fold(self, path: str) -> str:
        """Return the path with names that differ from run to run replaced by ``*``."""
        done = ""
        parts = path.split("/")
        for depth, name in enumerate(parts, start=1):
            folded = name
            if "/".join(parts[:depth]) not in self.stable:
                for prefix, suffix in self.shapes.get((done, len(name)), ()):
                    if name.startswith(prefix) and name.endswith(suffix):
                        folded = f"{prefix}*{suffix}"
            done = f"{done}/{folded}" if done else folded
        return done


def template_of(place: Path) -> Path:
    """Return the subdirectory of a record's directory with the files that each box starts with."""
    return place / "template"


def left_by_trials(place: Path) -> list[Path]:
    """Return the subdirectories of a record's directory that hold what its trials left."""
    return [*place.glob(f"{_STATES}*"), *place.glob(f"{_RECOVERED}*")]


def record_file(place: Path) -> Path:
    """Return the file in a record's directory that holds the record itself."""
    return place / "record"
