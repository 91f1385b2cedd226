"""Trials: plans that were carried out, and what became of each."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from .findings import Finding, Violation
from .ops import Op
from .plan import Plan, plan_text


class Outcome(enum.StrEnum):
    """What became of a trial; the values are what a message says of it."""

    #: nothing was tested: threads may take another way, or the run is another one now
    NOT_REACHED = "the run did not come to the crash point"
    #: nothing is left to test: the point is not in every run
    TOO_SHORT = "the run did all of its work, and rightly, in fewer ops"
    #: equal states are one
    REPEATED = "another trial judged the same crash state"
    JUDGED = "its crash state was judged, and recovered from"
    FAILED = "it could not be carried out"
    #: a failure that was kept may be of a run that is another one now
    IMPOSSIBLE = "no run leaves such a state"


@dataclass(slots=True)
class Trial:
    """One plan carried out.

    Attributes:
        plan: the crashes, one a run.
        outcome: what became of it.
        state: digest of the crash state; "" if not reached.
        acks: what the struck runs had acknowledged.
        findings: what was violated there.
        recovery: ops that the recovery made, where deeper plans ask for them.
        redone: how many they are; -1 where there was no recovery, or one of before was known.
        op: what the pipeline was about to do when it was struck.
        path: the file that this op is about.
        mark: what tells it again: see golden.marks.mark_of().
        lost: what a power cut lost: each op, or part of one, in words.
        stayed: what a power cut kept though something before it was lost, likewise.
        profile: the disk that promises most and on which it can still happen, where it was violated.
        rests_on: what it rests on that machines do not show of themselves, in words; "" where it does not.
        trouble: why it could not be carried out, if so.
        left: names that the crash left, and what each is, where something was violated.
        fell_back: why runs of it were execs where a zygote was to fork them; "" if none were.
    """

    plan: Plan
    outcome: Outcome = Outcome.NOT_REACHED
    state: str = ""
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
    kept: str = ""
    left: tuple[tuple[str, str], ...] = ()
    story: list[str] = field(default_factory=list)
    fell_back: str = ""

    @property
    def reached(self) -> bool:
        """Whether the last crash point was reached and its state looked at; if not, nothing was tested."""
        return self.outcome in (Outcome.JUDGED, Outcome.REPEATED)

    @property
    def judged(self) -> bool:
        """Whether this trial judged the crash state and recovered from it."""
        return self.outcome is Outcome.JUDGED

    def fail(self, why: str, outcome: Outcome = Outcome.FAILED) -> None:
        """Note that it could not be carried out."""
        self.outcome, self.trouble = outcome, why


def violation_of(name: str, fault: str, trial: Trial, finding: Finding, points: int) -> Violation:
    """Return a finding of a trial in its place.

    Args:
        name: the scenario's.
        fault: the name of the fault that was asked for.
        trial: the smallest that shows it.
        finding: what it shows.
        points: how many crash points lead to it.
    """
    point = plan_text(trial.plan)
    return Violation(
        kind=finding.kind,
        fault=fault,
        point=point,
        op=trial.op,
        path=finding.path,
        message=finding.message,
        detail=finding.detail,
        replay=f"{name}:{point}" if point else "",
        profile=trial.profile,
        rests_on=trial.rests_on,
        lost=tuple(trial.lost),
        stayed=tuple(trial.stayed),
        left=trial.left,
        points=points,
        mark=trial.mark,
    )
