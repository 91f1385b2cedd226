"""Trials: plans that were carried out, and the outcome of each."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from .findings import Finding, Violation
from .ops import Op
from .plan import Plan, plan_text


class Outcome(enum.StrEnum):
    """The outcome of a trial; the values are words for a message."""

    #: nothing was tested: threads may take another order, or the run has changed
    NOT_REACHED = "the run did not reach the crash point"
    #: nothing is left to test: the point is not in every run
    TOO_SHORT = "the run did all of its work correctly in fewer ops"
    #: equal states are one
    REPEATED = "another trial judged the same crash state"
    JUDGED = "its crash state was judged, and recovered from"
    FAILED = "it could not be carried out"
    #: nothing was run: whether the pipeline recovers is unknown
    SEEN = "its crash state was judged from a recording"
    #: a kept failure may be that of a run that has changed
    IMPOSSIBLE = "no run leaves such a state"


@dataclass(slots=True)
class Trial:
    """One plan that was carried out.

    Attributes:
        plan: the crashes, one for each run.
        outcome: what became of it.
        state: digest of the crash state; "" if it was not reached.
        acks: what the crashed runs had acknowledged.
        findings: what was violated.
        warnings: findings that fail nothing.
        recovery: the ops of the recovery, if deeper plans need them.
        redone: their number; -1 if there was no recovery, or its result was known.
        op: what the pipeline was doing at the last crash, in words.
        path: the file that this op acts on.
        mark: by which this op is found again: see golden.marks.mark_of().
        lost: what a power cut lost: ops or parts of ops, in words.
        stayed: what a power cut kept though something earlier was lost, likewise.
        profile: the disk that promises most and on which a violation can still happen.
        rests_on: an assumption that machines were not seen to meet, in words; "" if there is none.
        trouble: why the plan could not be carried out; "" if it could.
        left: names that the crash left, and what each is, if something was violated.
        story: what was done, in lines of words.
        fell_back: why its runs were execs though a zygote was to fork them; "" if none were.
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
    left: tuple[tuple[str, str], ...] = ()
    story: list[str] = field(default_factory=list)
    fell_back: str = ""

    @property
    def reached(self) -> bool:
        """Whether the last crash point was reached, and its state judged; else nothing was tested."""
        return self.outcome in (Outcome.JUDGED, Outcome.REPEATED)

    @property
    def judged(self) -> bool:
        """Whether this trial judged the crash state and recovered from it."""
        return self.outcome is Outcome.JUDGED

    def fail(self, why: str, outcome: Outcome = Outcome.FAILED) -> None:
        """Note that the plan could not be carried out."""
        self.outcome, self.trouble = outcome, why


def violation_of(name: str, fault: str, trial: Trial, finding: Finding, points: int) -> Violation:
    """Return a violation for a finding.

    Args:
        name: the scenario's name.
        fault: the name of the fault that was asked for.
        trial: the smallest trial with the finding.
        finding: the finding.
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
