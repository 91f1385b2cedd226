"""What exploring gives: findings at crash states, one verdict a scenario, one for all.

Plain data: it travels between processes, and every report is made from it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from outlive_harness.plan import Plan
from outlive_harness.trace import Op


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


@dataclass(frozen=True, slots=True)
class Broken:
    """A fault of ours: the traceback of what a unit raised."""

    traceback: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A unit that was given up, and why."""

    why: str


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
class Finding:
    """One thing that is not as it must be.

    Attributes:
        kind: a violation of the design, as ``torn-output``.
        path: the file it is about, relative to the box; "" if none.
        message: one sentence.
        detail: more lines: sizes, the first difference, the program's last words.
    """

    kind: str
    path: str
    message: str
    detail: str = ""


#: Kinds of violations, the gravest first: what stops the pipeline, what is wrong for good, what passes.
GRAVEST = (
    "not-idempotent", "recovery-failed", "recovery-hung", "run-hung", "interfered", "lost-ack", "lost-effect",
    "duplicate-effect", "diverged", "torn-output", "litter",
)  # fmt: skip


def gravity(kind: str) -> int:
    """Return a number for a kind, smaller for a graver one."""
    return GRAVEST.index(kind) if kind in GRAVEST else len(GRAVEST)


@dataclass(slots=True)
class Trial:
    """One plan carried out.

    Attributes:
        plan: the crashes, one a run.
        reached: whether the last crash point was reached; if not, nothing was tested.
        unmet: it was not, since the run did all of its work, and rightly, in fewer ops.
        state: digest of the crash state; "" if not reached.
        judged: whether this trial judged and recovered the state, or another one had.
        acks: what the struck runs had acknowledged.
        findings: what was violated there.
        recovery: ops that the recovery made, where deeper plans ask for them.
        redone: how many they are; -1 where there was no recovery, or one of before was known.
        op: what the pipeline was about to do when it was struck.
        path: the file that this op is about.
        mark: what tells it again: see rebase.told_by().
        lost: what a power cut lost: each op, or part of one, in words.
        stayed: what a power cut kept though something before it was lost, likewise.
        profile: the disk that promises most and on which it can still happen, where it was violated.
        rests_on: what it rests on that machines do not show of themselves, in words; "" where it does not.
        trouble: why the trial could not be carried out, if so.
        impossible: whether that is because no run leaves such a state.
        left: names that the crash left, and what each is, where something was violated.
        fell_back: why runs of it were execs where a zygote was to fork them; "" if none were.
    """

    plan: Plan
    reached: bool = False
    unmet: bool = False
    state: str = ""
    judged: bool = False
    acks: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    recovery: list[Op] = field(default_factory=list)
    redone: int = -1
    op: str = ""
    path: str = ""
    mark: str = ""
    lost: list[str] = field(default_factory=list)
    stayed: list[str] = field(default_factory=list)
    profile: str = ""
    rests_on: str = ""
    trouble: str = ""
    impossible: bool = False
    kept: str = ""
    left: tuple[tuple[str, str], ...] = ()
    story: list[str] = field(default_factory=list)
    fell_back: str = ""


@dataclass(slots=True)
class Violation:
    """A finding in its place: what a report shows of it."""

    kind: str
    fault: str
    point: str
    op: str
    path: str
    message: str
    detail: str
    replay: str
    profile: str = ""
    #: what each example of it rests on that machines do not show of themselves; "" where one does without
    rests_on: str = ""
    #: what a power cut lost, in words
    lost: tuple[str, ...] = ()
    #: what it kept though something before that was lost, in words
    stayed: tuple[str, ...] = ()
    #: how many crash points lead to the same finding
    points: int = 1
    kept: str = ""
    confirmed: bool | None = None
    #: where in the program it comes from: ``store.py:41 in save``, or the command of a process
    source: str = ""
    #: the frames of the program itself above that, the innermost first
    stack: tuple[str, ...] = ()
    #: the line of an installed package that made the call: ``joblib 1.6.0: joblib/memory.py:41 in dump``
    within: str = ""
    #: what to change, if a change was tried and every crash state held with it
    advice: str = ""
    #: names that the smallest example left on the disk, and what each is
    left: tuple[tuple[str, str], ...] = ()
    #: whether the baseline lists it
    known: bool = False
    #: what tells the op again that the last crash struck: see rebase.told_by()
    mark: str = ""


@dataclass(slots=True)
class Coverage:
    """How much of a fault was explored.

    Attributes:
        points: crash points that there are.
        tested: how many of them were carried out.
        states: distinct crash states among these.
        label: what else must be known of it.
        chosen: how many were to be carried out: all, or a sample that was asked for.
        deeper: how many of these nobody had asked for, but time was left.
        profile: the disk's, where it matters.
        reason: why the fault could not be explored, or not all of it; "" if it could.
    """

    points: int = 0
    tested: int = 0
    states: int = 0
    label: str = ""
    chosen: int = 0
    profile: str = ""
    reason: str = ""
    deeper: int = 0

    def say(self, text: str) -> None:
        """Add to what must be known of it."""
        self.label = f"{self.label}; {text}" if self.label else text


@dataclass(frozen=True, slots=True)
class NotJudged:
    """Something that a verdict says nothing of.

    Attributes:
        what: a path, a pattern, or what else it is.
        why: the reason.
    """

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Effect:
    """What a run did outside of its files: nobody judges it.

    Attributes:
        address: where it connected or sent to: ``127.0.0.1:5432``, ``unix:/run/db.sock``.
        ops: how many calls the golden run made there.
    """

    address: str
    ops: int


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
