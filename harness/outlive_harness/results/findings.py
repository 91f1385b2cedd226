"""What is wrong at a crash state or after its recovery, and what nobody looked at."""

from __future__ import annotations

from dataclasses import dataclass


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
    #: what tells the op again that the last crash struck: see golden.marks.mark_of()
    mark: str = ""


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
