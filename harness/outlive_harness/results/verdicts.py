"""Results: one verdict for each scenario, and one for all.

They travel between processes, and every report is made from them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from .findings import Effect, NotJudged, Violation


class Verdict(enum.StrEnum):
    """The verdict of a scenario; the worst of several is the verdict of all.

    A scenario is skipped if the options leave out the faults that it needs; that fails nothing.
    """

    SKIPPED = "skipped"
    HELD = "held"
    UNKNOWN = "unknown"
    VIOLATED = "violated"

    @classmethod
    def worst(cls, several: list[Verdict]) -> Verdict:
        """Return the worst of several verdicts; that of none is unknown."""
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
    READER_GONE = 141  # as a shell reports SIGPIPE


@dataclass(slots=True)
class Coverage:
    """How much of a fault was explored.

    Attributes:
        points: the number of crash points.
        tested: how many of them were tested.
        states: how many distinct crash states they had.
        notes: what was left out, and why.
        is_exhaustive: whether each point was to be tested by itself.
        chosen: how many were to be tested: all, or a sample that was asked for.
        deeper: how many of these were not asked for, but tested because time was left.
        profile: the disk's profile, if it matters.
        reason: why the fault could not be explored, or not in full; "" if it could.
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
    """The data of a time line.

    Attributes:
        ops: the ops of the golden run: the path that each acts on, and what it does in words.
        sources: the line of the program for each op; empty if that was not asked for.
        points: the crash points that were tested: fault, op, plan, and kinds of violations.
    """

    ops: list[tuple[str, str]] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    points: list[tuple[str, int, str, tuple[str, ...]]] = field(default_factory=list)


@dataclass(slots=True)
class ScenarioResult:
    """The verdict of one scenario, and the facts behind it.

    Attributes:
        name: the scenario's name.
        verdict: the verdict.
        reason: why it is not simply held; "" if it is.
        file: the scenario's file.
        faults: the coverage of each fault.
        violations: what was violated, the gravest first.
        warnings: remarks that fail nothing.
        litter: those of the warnings that say what a crash leaves behind.
        seconds: wall time.
        ops: the number of ops of the golden run.
        again: why the result of an earlier run was not taken over; "" if that was not asked for.
        not_judged: files and the like that the verdict does not cover.
        effects: what the golden run did outside its files.
        not_asked: faults that were not asked for.
        zygote: whether trials were forked from a zygote.
        expected: the violations that a known-bad scenario was expected to show.
        exhibit: the data of a time line, if one was asked for.
        regressions: the file to which regressions were added; "" if none were.
        interrupted: whether an interrupt ended its exploration.
        is_misuse: whether nothing was tested as the scenario asks for something that cannot be.
    """

    name: str
    verdict: Verdict = Verdict.UNKNOWN
    reason: str = ""
    file: str = ""
    faults: dict[str, Coverage] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    litter: list[str] = field(default_factory=list)
    seconds: float = 0.0
    ops: int = 0
    again: str = ""
    not_judged: list[NotJudged] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    not_asked: tuple[str, ...] = ()
    zygote: bool = False
    expected: tuple[str, ...] = ()
    exhibit: Exhibit | None = None
    regressions: str = ""
    interrupted: bool = False
    is_misuse: bool = False


def read_back(facts: dict[str, Any]) -> ScenarioResult:
    """Return the result that dataclasses.asdict() turned into plain data, and JSON carried.

    Raises:
        KeyError, TypeError, ValueError: another version wrote it.
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
    """The results of all scenarios of one run.

    Attributes:
        scenarios: the results.
        seed: the seed of all samples.
        seconds: wall time.
        interrupted: whether an interrupt ended it early.
        workers: the number of worker processes at its end; 0 if it is not known.
    """

    scenarios: list[ScenarioResult]
    seed: int
    seconds: float
    interrupted: bool = False
    workers: int = 0

    @property
    def verdict(self) -> Verdict:
        """The worst of the scenarios' verdicts; an interrupted run is never held."""
        several = [one.verdict for one in self.scenarios]
        return Verdict.worst([*several, Verdict.UNKNOWN] if self.interrupted else several)

    @property
    def exit_status(self) -> Exit:
        """The exit status of the command line."""
        if self.interrupted:
            return Exit.INTERRUPTED
        if any(one.is_misuse for one in self.scenarios):
            return Exit.USAGE
        return {
            Verdict.HELD: Exit.HELD,
            Verdict.SKIPPED: Exit.HELD,
            Verdict.VIOLATED: Exit.VIOLATED,
            Verdict.UNKNOWN: Exit.UNKNOWN,
        }[self.verdict]
