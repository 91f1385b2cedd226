"""What a scenario's check said of a box: the value that it returned, or the exception that it raised.

It says so in a file of its own (see _body.py): a kind of violation hangs on it, and what a program prints is
anybody's words.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from outlive_harness.launch.run import Ran

from .results import Finding

#: Characters of a value, and lines of a comparison, that are shown.
_SHOWN, _LINES = 400, 12


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check said.

    Attributes:
        value: what it returned, as repr() writes it.
        failed: how it failed, in a few words; "" if it did not.
        detail: all that its exception said, and where it was raised; "" where ``failed`` says that.
        is_assertion: whether it failed by an assertion.
        reads: paths outside the box that it opened or ran, where that was asked for and could be seen.
    """

    value: str = ""
    failed: str = ""
    detail: str = ""
    is_assertion: bool = False
    reads: list[str] = field(default_factory=list)

    @property
    def failure(self) -> str:
        """How it failed, with all that there is to say of it."""
        return f"{self.failed}\n{self.detail}" if self.detail else self.failed

    def findings(self, golden: str, *, takes_acks: bool) -> list[Finding]:
        """Compare it with what the check returned after the golden run.

        Args:
            golden: that value.
            takes_acks: whether its assertions are about what was acknowledged.
        """
        if self.failed and self.is_assertion and takes_acks:
            return [
                Finding("lost-ack", "", f"after recovery a promise is broken: {self.failed}", self.detail)
            ]
        if self.failed:
            return [Finding("diverged", "", f"after recovery the check fails: it {self.failed}", self.detail)]
        if self.value != golden:
            detail = _difference(golden, self.value)
            return [Finding("diverged", "", "after recovery the check gives another value", detail)]
        return []


def checked(said: Path, ran: Ran) -> Checked:
    """Return what a check said: in the file *said*, and by how its process ended."""
    try:
        facts: dict[str, Any] = json.loads(said.read_text(encoding="ascii"))
    except (OSError, ValueError):  # it was ended before it could say anything, or while it did
        facts = {}
    error = facts.get("error")
    if error is not None:
        first, *more = error["message"].split("\n")
        what = f"raised {error['type']}" + (f": {first}" if first else "")
        place = f"raised at {error['place']}" if error["place"] else ""
        whole = [error["message"]] if more else []
        return Checked(
            failed=what, detail="\n".join([*whole, place]).strip("\n"), is_assertion=error["is_assertion"]
        )
    failed = ran.failure()
    if not failed and "value" not in facts:
        failed = "ended before its function returned"
    return Checked(facts.get("value", ""), failed, reads=ran.reads)


def _difference(golden: str, here: str) -> str:
    """Show two values, or where they differ if they are of several lines."""
    if "\n" not in golden + here:
        return f"golden: {_shortened(golden)}\nhere:   {_shortened(here)}"
    lines = difflib.unified_diff(golden.splitlines(), here.splitlines(), "golden", "here", n=1, lineterm="")
    shown = [_shortened(line) for line in lines]
    return "\n".join(shown[:_LINES] + ["..."] * (len(shown) > _LINES))


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
