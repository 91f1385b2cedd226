"""What exploring gives: findings at crash states, one verdict a scenario, one for all.

Plain data: it travels between processes, and every report is made from it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from .findings import Effect, NotJudged, Violation


class Verdict(enum.StrEnum):
    """What is known at the end; the worst of several is the verdict of all.

    One that is skipped was not asked for, as the options leave out what it needs; it fails nothing.
    """

    SKIPPED = "skipped"
    HELD = "held"
    UNKNOWN = "unknown"
    VIOLATED = "violated"

    @classmethod
    def worst(cls, several: list[Verdict]) -> Verdict:
        """Return the worst; nothing tested is unknown."""
        order = list(cls)
        return max(several, key=order.index, default=cls.UNKNOWN)


class Exit(enum.IntEnum):
    """Exit status of the command line."""

    HELD = 0
    VIOLATED = 1
    USAGE = 2
    UNKNOWN = 3
    FAULT_OF_OURS = 70
    INTERRUPTED = 130
    READER_GONE = 141  # as a shell tells of SIGPIPE


@dataclass(slots=True)
class Coverage:
    """How much of a fault was explored.

    Attributes:
        points: crash points that there are.
        tested: how many of them were carried out.
        states: distinct crash states among these.
        notes: what was left out, and why.
        is_exhaustive: whether all points were to be carried out, each by itself.
        chosen: how many were to be carried out: all, or a sample that was asked for.
        deeper: how many of these nobody had asked for, but time was left.
        profile: the disk's, where it matters.
        reason: why the fault could not be explored, or not all of it; "" if it could.
    """

    points: int = 0
    tested: int = 0
    states: int = 0
    notes: list[str] = field(default_factory=list)
    is_exhaustive: bool = True
    chosen: int = 0
    profile: str = ""
    reason: str = ""
    deeper: int = 0

    @property
    def note(self) -> str:
        """All notes in one sentence; "" if there are none."""
        return "; ".join(self.notes)

    def leave_out(self, note: str) -> None:
        """Note that something is left out."""
        self.notes.append(note)
        self.is_exhaustive = False


@dataclass(slots=True)
class Exhibit:
    """What a time line is drawn from, where one was asked for.

    Attributes:
        ops: of the golden run: the path that each is about, and what it does in words.
        sources: where in the program each comes from; empty where that was not asked.
        points: each crash point that was tested: its fault, its op, its plan, and the kinds of violations.
    """

    ops: list[tuple[str, str]] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    points: list[tuple[str, int, str, tuple[str, ...]]] = field(default_factory=list)


@dataclass(slots=True)
class ScenarioResult:
    """The verdict of one scenario and what it rests on."""

    name: str
    verdict: Verdict = Verdict.UNKNOWN
    reason: str = ""
    file: str = ""
    faults: dict[str, Coverage] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    #: those of the warnings that say what a crash leaves behind
    litter: list[str] = field(default_factory=list)
    seconds: float = 0.0
    ops: int = 0
    #: why what was known of it was not taken over; "" where nobody asked for that
    again: str = ""
    #: files and the like that the verdict says nothing of
    not_judged: list[NotJudged] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    #: faults that were not asked for
    not_asked: tuple[str, ...] = ()
    #: whether trials were forked from a zygote
    zygote: bool = False
    #: the violations that a known-bad scenario was expected to show
    expected: tuple[str, ...] = ()
    exhibit: Exhibit | None = None
    #: the file of failures that are struck first from now on, if any were added
    corpus: str = ""
    #: whether an interrupt ended its exploration
    interrupted: bool = False


def read_back(facts: dict[str, Any]) -> ScenarioResult:
    """Make a result from what dataclasses.asdict() gave, and JSON carried.

    Raises:
        KeyError, TypeError, ValueError: it is of another version.
    """
    facts = dict(facts)
    facts["verdict"] = Verdict(facts["verdict"])
    facts["faults"] = {name: Coverage(**coverage) for name, coverage in facts["faults"].items()}
    facts["violations"] = [
        Violation(
            **{
                **one,
                "lost": tuple(one["lost"]),
                "stayed": tuple(one["stayed"]),
                "stack": tuple(one["stack"]),
                "left": tuple((path, what) for path, what in one["left"]),
            }
        )
        for one in facts["violations"]
    ]
    facts["expected"], facts["not_asked"] = tuple(facts["expected"]), tuple(facts["not_asked"])
    facts["not_judged"] = [NotJudged(**one) for one in facts["not_judged"]]
    facts["effects"] = [Effect(**one) for one in facts["effects"]]
    return ScenarioResult(**facts)


@dataclass(slots=True)
class RunResult:
    """All scenarios of one invocation."""

    scenarios: list[ScenarioResult]
    seed: int
    seconds: float
    interrupted: bool = False

    @property
    def verdict(self) -> Verdict:
        """The worst of the scenarios' verdicts; an interrupted run is never held."""
        several = [one.verdict for one in self.scenarios]
        return Verdict.worst([*several, Verdict.UNKNOWN] if self.interrupted else several)

    @property
    def exit_status(self) -> Exit:
        """The status that the command line ends with."""
        if self.interrupted:
            return Exit.INTERRUPTED
        return {
            Verdict.HELD: Exit.HELD,
            Verdict.SKIPPED: Exit.HELD,
            Verdict.VIOLATED: Exit.VIOLATED,
            Verdict.UNKNOWN: Exit.UNKNOWN,
        }[self.verdict]
