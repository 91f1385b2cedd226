"""The result of a scenario's check: the value that it returned, or the exception that it raised.

A function writes it to a file (see _body.py): the kind of a violation depends on it, and any code can print.
Of a command it is what the command printed, and its exit status.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from outlive_harness.intercept.supervisor import Ending
from outlive_harness.launch.run import FinishedRun
from outlive_harness.results.findings import Finding

#: Characters of a value, and lines of a comparison, that are shown.
_SHOWN, _LINES = 400, 12


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a check.

    Attributes:
        value: the repr() of its value, or what a command printed.
        failed: how it failed, in a few words; "" if it did not.
        detail: the whole message of its exception, and where it was raised, or a command's last words; "" if
            ``failed`` says it all.
        is_assertion: whether it failed by an assertion, or by exit status 1.
        reads: paths outside the box that it opened or ran, if requested and visible.
    """

    value: str = ""
    failed: str = ""
    detail: str = ""
    is_assertion: bool = False
    reads: list[str] = field(default_factory=list)

    @property
    def failure(self) -> str:
        """How it failed, with all details."""
        return f"{self.failed}\n{self.detail}" if self.detail else self.failed

    def findings(self, golden: str, *, takes_acks: bool) -> list[Finding]:
        """Return the violations, compared with the check after the golden run.

        Args:
            golden: the value that the check returned then.
            takes_acks: whether its assertions are about what was acknowledged.
        """
        if self.failed and self.is_assertion and takes_acks:
            sentence = f"after recovery a promise is broken: the check {self.failed}"
            return [Finding("lost-ack", "", sentence, self.detail)]
        if self.failed:
            return [Finding("diverged", "", f"after recovery the check fails: it {self.failed}", self.detail)]
        if self.value != golden:
            detail = difference(golden, self.value)
            return [Finding("diverged", "", "after recovery the check gives another value", detail)]
        return []

    def findings_at_crash(self, *, takes_acks: bool) -> list[Finding]:
        """Return the violation of a crash state, if the check failed there.

        Args:
            takes_acks: whether its assertions are about what was acknowledged.
        """
        if not self.failed:
            return []
        if self.is_assertion and takes_acks:
            sentence = f"what the crash left breaks a promise: the crash check {self.failed}"
            return [Finding("lost-ack", "", sentence, self.detail)]
        sentence = f"the crash check fails on what the crash left: it {self.failed}"
        return [Finding("torn-output", "", sentence, self.detail)]


def check_result(said: Path, ran: FinishedRun) -> CheckResult:
    """Return the result of a check from the file *said* and the end of its process."""
    try:
        facts: dict[str, Any] = json.loads(said.read_text(encoding="ascii"))
    except (OSError, ValueError):  # it ended before it could write, or while it wrote
        facts = {}
    error = facts.get("error")
    if error is not None:
        first, *more = error["message"].split("\n")
        what = f"raised {error['type']}" + (f": {first}" if first else "")
        place = f"raised at {error['place']}" if error["place"] else ""
        whole = [error["message"]] if more else []
        return CheckResult(
            failed=what, detail="\n".join([*whole, place]).strip("\n"), is_assertion=error["is_assertion"]
        )
    failed = ran.failure()
    if not failed and "value" not in facts:
        failed = "ended before its function returned"
    return CheckResult(facts.get("value", ""), failed, reads=ran.reads)


def command_result(ran: FinishedRun) -> CheckResult:
    """Return the result of a check that is a command."""
    failed = ran.failure()
    if not failed:
        return CheckResult(ran.stdout.removesuffix("\n"), reads=ran.reads)
    says_no = ran.ended is Ending.EXITED and ran.code == 1 and not ran.refused
    told = ran.told if "\n" in ran.told else ""  # one line is in ``failed``
    return CheckResult(failed=failed, detail=told, is_assertion=says_no, reads=ran.reads)


def difference(golden: str, here: str) -> str:
    """Return two values for people, or a diff of them if they have several lines."""
    if "\n" not in golden + here:
        return f"golden: {_shortened(golden)}\nhere:   {_shortened(here)}"
    lines = difflib.unified_diff(golden.splitlines(), here.splitlines(), "golden", "here", n=1, lineterm="")
    shown = [_shortened(line) for line in lines]
    return "\n".join(shown[:_LINES] + ["..."] * (len(shown) > _LINES))


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
