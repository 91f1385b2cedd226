"""What is known of a pipeline before any fault is injected, and where it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from outlive_harness.disk.tree import Tree
from outlive_harness.launch.zygote import Preload
from outlive_harness.results.findings import Finding
from outlive_harness.results.ops import Op, Trace
from outlive_harness.results.run_spec import RunSpec

#: The least number of seconds that a run after the golden one may take.
SHORTEST_LIMIT = 30.0


class UntestableError(Exception):
    """A golden run that gives nothing to compare with; the message says why, and what to do."""


@dataclass(slots=True)
class Record:
    """The record of a golden run.

    Attributes:
        spec: what was run.
        place: the directory that all of it is kept in; see the properties.
        reason: why nothing can be tested, and so the verdict is unknown; "" if it can.
        trace: the ops of the first run.
        least_ops: the fewest ops that a golden run made.
        initial: the files before the run.
        final: the files after it.
        versions: digests of every whole content, by output path.
        varying: outputs whose intermediate contents differ between golden runs.
        stable: paths that both golden runs used.
        led_to: paths of the box that symbolic links lead to.
        uncompared: outputs that are ignored and differ from run to run, as the first run left them: only
            what is visible of them half-written is judged.
        signals: those that do not end the run before each op, as bits: what is caught, blocked or ignored
            (proc_pid_status(5)), and all where another process is alive beside the first.
        is_alone: whether the first thread of the first process made all calls that were looked at.
        has_order: whether the golden runs made the same ops in the same order.
        shapes: names that differ from run to run, by (directory, length): prefix and suffix around
            their random part.
        value: what the check returned after it.
        acks: what it acknowledged.
        findings: violations that need no crash: ``not-idempotent``.
        reads: paths outside its box that the first run, its setup or its check opened or executed.
        stacks: where in the program each op comes from, where that is known.
        preload: what a zygote does beforehand; None where each trial is an exec.
        check_preload: the same for the check.
        refused: why calls could not be intercepted; "" if they were.
        ignored: files of the golden run that no check looks at.
        effects: addresses that it connected or sent to, with the number of calls.
        seconds: wall time of the longer golden run.
        limit: seconds that any later run may take.
    """

    spec: RunSpec
    place: Path
    reason: str = ""
    trace: Trace = field(default_factory=Trace)
    least_ops: int = 0
    initial: Tree = field(default_factory=dict)
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
    check_preload: Preload | None = None
    refused: str = ""
    ignored: list[str] = field(default_factory=list)
    effects: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    limit: float = SHORTEST_LIMIT

    # -- where it is kept ----------------------------------------------------------------------------

    @property
    def template(self) -> Path:
        """The directory with the files that each box begins with."""
        return template_of(self.place)

    @property
    def golden(self) -> Path:
        """The directory with the files that the golden run left."""
        return self.place / "golden"

    def recordings(self, *, by_exec: bool) -> Path:
        """Return the directory of recordings: those by exec are apart from those of a zygote."""
        return self.place / ("recordings-exec" if by_exec else "recordings")

    def recovered(self, *, by_exec: bool) -> Path:
        """Return the directory that notes from which states a recovery did all that it must."""
        return self.place / ("recovered-exec" if by_exec else "recovered")

    def states(self, name: str) -> Path:
        """Return the directory where the crash states of one search are claimed and kept."""
        return self.place / f"states-{name}"

    def real_disk(self, name: str) -> Path:
        """Return the directory of what power cuts on a real file system left."""
        return self.place / "real" / name

    # -- what it says of paths -----------------------------------------------------------------------

    @property
    def ops(self) -> list[Op]:
        """The ops of the golden run."""
        return self.trace.ops

    def is_shown(self, path: str) -> bool:
        """Return whether readers may see what a run puts at a path, by its own name or through a link."""
        return self.spec.is_output(path) or path in self.uncompared or self._is_led_to(path)

    def is_watched(self, path: str) -> bool:
        """Return whether the golden runs look which contents of a path are whole."""
        return self.spec.is_output(path) or self.spec.is_named(path) or self._is_led_to(path)

    def _is_led_to(self, path: str) -> bool:
        return any(path == one or path.startswith(f"{one}/") for one in self.led_to)

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
    """Return where in a record's directory the files lie that each box begins with."""
    return place / "template"


def record_file(place: Path) -> Path:
    """Return where in a record's directory the record itself lies."""
    return place / "record"
