"""What is wrong with a crash state or its recovery, and what the verdict does not cover."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: a kind of violation, as ``torn-output``.
        path: the file that is wrong, relative to the box; "" if it is not about a file.
        message: one sentence.
        detail: further lines: sizes, the first difference, the end of the program's output.
    """

    kind: str
    path: str
    message: str
    detail: str = ""


@dataclass(slots=True)
class Violation:
    """A finding with the crash point that leads to it, as a report shows it.

    Attributes:
        kind: as of the finding; so are path, message and detail.
        fault: the fault that was asked for; "" if no crash is needed.
        point: the plan of the smallest example; "" if no crash is needed.
        op: what the pipeline was doing at the last crash.
        replay: the id that carries out the example again; "" if there is none.
        profile: the disk that promises most and on which it can still happen, if the power is cut.
        rests_on: an assumption of every example that machines were not seen to meet; "" if one needs none.
        lost: what a power cut lost, in words.
        stayed: what it kept though something earlier was lost, in words.
        points: how many crash points lead to the same finding.
        kept: the directory where the boxes are kept; "" if they are not.
        confirmed: whether a second trial of the plan showed it again; None if there was none.
        source: the line of the program: ``store.py:41 in save``, or the command of a process.
        stack: the frames of the program above that line, the innermost first.
        within: the line of an installed package that made the call:
            ``joblib 1.6.0: joblib/memory.py:41 in dump``.
        advice: what to change, if that change was tried and every crash state held with it.
        left: names that the crash of the example left, and what each is.
        known: whether the baseline lists it.
        mark: by which the op of the last crash is found again: see golden.marks.mark_of().
        from_recording: whether only a recording showed it, as its plan was not carried out.
    """

    kind: str
    fault: str
    point: str
    op: str
    path: str
    message: str
    detail: str
    replay: str
    profile: str = ""
    rests_on: str = ""
    lost: tuple[str, ...] = ()
    stayed: tuple[str, ...] = ()
    points: int = 1
    kept: str = ""
    confirmed: bool | None = None
    source: str = ""
    stack: tuple[str, ...] = ()
    within: str = ""
    advice: str = ""
    left: tuple[tuple[str, str], ...] = ()
    known: bool = False
    mark: str = ""
    from_recording: bool = False


@dataclass(frozen=True, slots=True)
class NotJudged:
    """Something that a verdict does not cover.

    Attributes:
        what: a path, a pattern, or a description.
        why: the reason.
    """

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Effect:
    """What a run did outside its files; no check looks at it.

    Attributes:
        address: where the run connected or sent to: ``127.0.0.1:5432``, ``unix:/run/db.sock``.
        ops: how many such calls the golden run made.
    """

    address: str
    ops: int
