"""One failure told in full: the ops up to the crash, what was on the disk, what the recovery did."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from outlive_harness.disk.tree import Entry, Tree, scan
from outlive_harness.explore.golden import Record
from outlive_harness.explore.results import Trial, gravity
from outlive_harness.explore.subject import HOME, TMP
from outlive_harness.plan import Plan, plan_text

from .text import moment, visible, visible_lines

#: Ops before the crash, and names left on the disk, that are listed.
_OPS = 40
_NAMES = 200


def tell(out: Console, record: Record, trial: Trial | None, plan: Plan, place: Path) -> None:
    """Print the story of one plan.

    Args:
        out: where to.
        record: the golden run that it is compared with.
        trial: what came of it; None where the golden run gives nothing to compare with.
        plan: what was asked for.
        place: where the boxes are kept.
    """
    say = _Say(out)
    say(f"{record.subject.name}: {plan_text(plan)}", "bold")
    if trial is None:
        say("unknown: the golden run gives nothing to compare with", "yellow")
        say.lines(record.reason)
        return
    _ops(say, record, plan)
    if trial.trouble or not trial.reached:
        say(f"unknown: {trial.trouble or 'the run did not come to the crash point'}", "yellow")
        say.lines("\n".join(trial.story))
        return
    _struck(say, trial, plan)
    _left(say, record, place / "crashed")
    say("what was done:")
    say.lines("\n".join(trial.story))
    if not any(finding.kind.startswith("recovery-") for finding in trial.findings):
        say("  it exited with 0")
    _findings(say, trial)
    if trial.rests_on and trial.findings:
        say(f"rests on: {trial.rests_on}")
    say(f"boxes are kept in {place}:")
    kept = [name for name in ("golden", "crashed", "recovered") if (place / name).is_dir()]
    say(f"  {', '.join(kept)}")


class _Say:
    """Prints texts that may hold anything."""

    def __init__(self, out: Console) -> None:
        self._out = out

    def __call__(self, text: str, style: str = "") -> None:
        self._out.print(Text(visible(text), style=style))

    def lines(self, text: str) -> None:
        for line in visible_lines(text):
            self._out.print(Text("  " + line))


def _ops(say: _Say, record: Record, plan: Plan) -> None:
    """List the golden run's ops up to the first crash, and mark the one that is struck."""
    struck = plan[0].at
    if plan[0].fault == "timer" or not record.ops:
        return
    say(f"ops of the golden run ({len(record.ops)}) up to the crash:")
    first = max(1, min(struck, len(record.ops)) - _OPS)
    if first > 1:
        say(f"  ... {first - 1} earlier ones")
    for number in range(first, min(struck, len(record.ops)) + 1):
        mark = ">" if number == struck else " "
        say(f"{mark} {number:>5}  {record.ops[number - 1].describe()}")


def _struck(say: _Say, trial: Trial, plan: Plan) -> None:
    where = "" if len(plan) == 1 else f", crash {len(plan)} of {len(plan)}"
    if plan[-1].fault == "power":
        say(f"power cut{where}, after: {trial.op}")
        several = (
            "1 op, or a part of it" if len(trial.lost) == 1 else f"{len(trial.lost)} ops or parts of them"
        )
        say(f"lost: {several}" if trial.lost else "lost: nothing")
        say.lines("\n".join(trial.lost))
        if trial.stayed:
            say("kept beside that:")
            say.lines("\n".join(trial.stayed))
        if trial.profile:
            say(f"even on a disk as: {trial.profile}")
        return
    is_cut = plan[-1].part and plan[-1].fault in ("torn", "full")
    part = f"; {_bytes(plan[-1].part)} of it still reach the file" if is_cut else ""
    when = moment(plan_text(plan))
    say(f"struck by {plan[-1].fault}{where}, {when}: {trial.op}{part}" if trial.op else f"struck{where}")


def _left(say: _Say, record: Record, crashed: Path) -> None:
    """List what the crash left, beside what the golden run leaves."""
    tree = scan(crashed)
    names = sorted(path for path in tree if not _is_empty_home(path, tree))
    say("left on the disk:" if names else "left on the disk: nothing")
    for path in names[:_NAMES]:
        golden = record.final.get(path)
        if golden is None:
            remark = "  (not left by the golden run)"
        else:
            remark = "" if _size(golden) == _size(tree[path]) else f"  (golden run: {_size(golden)})"
        say(f"  {_size(tree[path]):>16}  {path}{remark}")
    if len(names) > _NAMES:
        say(f"  ... and {len(names) - _NAMES} more names")
    for path in sorted(record.final):
        if path not in tree and record.subject.is_output(path):
            say(f"  {'absent':>16}  {path}  (golden run: {_size(record.final[path])})")


def _size(entry: Entry) -> str:
    return _bytes(entry.size) if entry.kind == "file" else entry.kind


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _is_empty_home(path: str, tree: Tree) -> bool:
    """Tell the directories that we make, as long as the pipeline left nothing in them."""
    return path in (TMP, HOME) and not any(other.startswith(path + "/") for other in tree)


def _findings(say: _Say, trial: Trial) -> None:
    if not trial.findings:
        say("held: nothing was violated", "green")
    for finding in sorted(trial.findings, key=lambda one: gravity(one.kind)):
        say(f"{finding.kind}: {finding.message}", "red")
        if finding.detail:
            say.lines(finding.detail)
    for warning in trial.warnings:
        say(f"warning: {warning.message}", "yellow")
