"""One replayed failure in full: the ops up to the crash, the files that it left, what the recovery did."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from outlive_harness.disk.tree import Entry, Tree, scan
from outlive_harness.faults.table import FAULTS
from outlive_harness.golden.record import Record
from outlive_harness.results.plan import Plan, plan_text
from outlive_harness.results.run_spec import HOME, TMP
from outlive_harness.results.trials import Outcome, Trial
from outlive_harness.results.violations import RECOVERY_FAILED, gravity

from .escaped import visible, visible_lines
from .text import moment

#: How many ops before the crash, and names that it left, are listed.
_OPS = 40
_NAMES = 200


def tell(out: Console, record: Record, trial: Trial | None, plan: Plan, place: Path) -> None:
    """Print what happened in the trial of one plan.

    Args:
        out: the console to print on.
        record: the golden run.
        trial: the trial; None if the golden run gives nothing to compare with.
        plan: the plan.
        place: the directory where the boxes are kept.
    """
    say = _Say(out)
    say(f"{record.spec.name}: {plan_text(plan)}", "bold")
    if trial is None:
        say("unknown: the golden run gives nothing to compare with", "yellow")
        say.lines(record.reason)
        return
    _ops(say, record, plan)
    if trial.trouble or not trial.reached:
        say(f"unknown: {trial.trouble or Outcome.NOT_REACHED}", "yellow")
        say.lines("\n".join(trial.story))
        return
    _crash(say, trial, plan)
    _left(say, record, place / "crashed")
    say("what was done:")
    say.lines("\n".join(trial.story))
    if RECOVERY_FAILED.isdisjoint(finding.kind for finding in trial.findings):
        say("  it exited with 0")
    _findings(say, trial)
    if trial.rests_on and trial.findings:
        say(f"rests on: {trial.rests_on}")
    say(f"boxes are kept in {place}:")
    kept = [name for name in ("golden", "crashed", "recovered") if (place / name).is_dir()]
    say(f"  {', '.join(kept)}")


class _Say:
    """A console for texts that may hold any characters."""

    def __init__(self, out: Console) -> None:
        self._out = out

    def __call__(self, text: str, style: str = "") -> None:
        self._out.print(Text(visible(text), style=style))

    def lines(self, text: str) -> None:
        for line in visible_lines(text):
            self._out.print(Text("  " + line))


def _ops(say: _Say, record: Record, plan: Plan) -> None:
    """List the golden run's ops up to the first crash, and mark the last."""
    last = plan[0].at
    if not FAULTS[plan[0].fault].counts_ops or not record.ops:
        return
    say(f"ops of the golden run ({len(record.ops)}) up to the crash:")
    first = max(1, min(last, len(record.ops)) - _OPS)
    if first > 1:
        say(f"  ... {first - 1} earlier ops")
    for number in range(first, min(last, len(record.ops)) + 1):
        mark = ">" if number == last else " "
        say(f"{mark} {number:>5}  {record.ops[number - 1].describe()}")


def _crash(say: _Say, trial: Trial, plan: Plan) -> None:
    where = "" if len(plan) == 1 else f", crash {len(plan)} of {len(plan)}"
    if FAULTS[plan[-1].fault].cuts_power == "model":
        say(f"power cut{where}, after: {trial.op}")
        several = (
            "1 op, or a part of it" if len(trial.lost) == 1 else f"{len(trial.lost)} ops or parts of them"
        )
        say(f"lost: {several}" if trial.lost else "lost: nothing")
        say.lines("\n".join(trial.lost))
        if trial.stayed:
            say("kept though it came later:")
            say.lines("\n".join(trial.stayed))
        if trial.profile:
            say(f"even on a disk as: {trial.profile}")
        return
    is_cut = plan[-1].part and FAULTS[plan[-1].fault].part == "bytes"
    part = f"; {_bytes(plan[-1].part)} of it still reached the file" if is_cut else ""
    when = moment(plan)
    op = f", {when}: {trial.op}{part}" if trial.op else ""
    say(f"{plan[-1].fault} injected{where}{op}")


def _left(say: _Say, record: Record, crashed: Path) -> None:
    """List the names that the crash left, and how they differ from those that the golden run leaves."""
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
        if path not in tree and record.spec.is_output(path):
            say(f"  {'absent':>16}  {path}  (golden run: {_size(record.final[path])})")


def _size(entry: Entry) -> str:
    return _bytes(entry.size) if entry.kind == "file" else entry.kind


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _is_empty_home(path: str, tree: Tree) -> bool:
    """Return whether a path is a directory that the harness makes in each box, and is empty."""
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
