"""One failure told in full: the ops up to the crash, what was on the disk, what the recovery did."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from outlive_harness.disk.tree import scan
from outlive_harness.explore.golden import Record
from outlive_harness.explore.results import Trial
from outlive_harness.plan import Plan, plan_text

from .text import visible, visible_lines

_SHOWN = 40


def tell(out: Console, record: Record, trial: Trial | None, plan: Plan, place: Path) -> None:
    """Print the story of one plan."""
    say = _Say(out)
    say(f"{record.subject.name}: {plan_text(plan)}", "bold")
    if trial is None:
        say("the golden run gives nothing to compare with:", "yellow")
        say.lines(record.reason)
        return
    _ops(say, record, plan)
    if trial.trouble or not trial.reached:
        say(f"not carried out: {trial.trouble or 'the run did not come to the crash point'}", "yellow")
        say.lines("\n".join(trial.story))
        return
    say(f"struck before: {trial.op}" if trial.op else "struck")
    say("left on the disk:")
    for path, entry in sorted(scan(place / "crashed").items()):
        size = f"{entry.size} bytes" if entry.kind == "file" else entry.kind
        say(f"  {size:>16}  {path}")
    say("what was done:")
    say.lines("\n".join(trial.story))
    _findings(say, trial)
    say(f"boxes are kept in {place}: crashed, recovered")


class _Say:
    """Prints texts that may hold anything."""

    def __init__(self, out: Console) -> None:
        self._out = out

    def __call__(self, text: str, style: str = "") -> None:
        self._out.print(Text(visible(text), style=style))

    def lines(self, text: str) -> None:
        for line in visible_lines(text):
            self._out.print(Text("  " + line))


def _findings(say: _Say, trial: Trial) -> None:
    if not trial.findings:
        say("held: nothing was violated", "green")
    for finding in trial.findings:
        say(f"{finding.kind}: {finding.message}", "red")
        if finding.detail:
            say.lines(finding.detail)
    for warning in trial.warnings:
        say(f"warning: {warning.message}", "yellow")


def _ops(say: _Say, record: Record, plan: Plan) -> None:
    struck = plan[0].at
    if plan[0].fault == "timer" or not record.ops:
        return
    say("ops of the golden run up to the crash:")
    first = max(1, struck - _SHOWN)
    if first > 1:
        say(f"  ... {first - 1} earlier ones")
    for number in range(first, min(struck, len(record.ops)) + 1):
        mark = ">" if number == struck else " "
        say(f"{mark} {number:>5}  {record.ops[number - 1].describe()}")
