"""Whether trials may be forked from a zygote: tried out once, beside the golden run."""

from __future__ import annotations

from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.judge import describe_difference, first_difference
from outlive_harness.launch.run import Ran
from outlive_harness.launch.zygote import ZygoteError, parse
from outlive_harness.trace import Op

from . import stacks
from .golden import Record
from .runner import Runner

#: A run of fewer ops is over before a zygote has paid for itself.
LEAST_OPS = 6
#: Zygotes that are tried, each without what spoiled the one before.
_ATTEMPTS = 6


def warm_up(runner: Runner, made: Record, first: Ran, *, repeats: bool) -> None:
    """Find out what a zygote can import beforehand, and whether a trial in it is as one by exec.

    Args:
        runner: where to try.
        made: the record of the golden run; ``preload`` is set where it works, else a warning says why.
        first: how the golden run went.
        repeats: whether the golden runs made the same ops in the same order.
    """
    subject = made.subject
    if (
        made.refused
        or len(made.ops) < LEAST_OPS
        or parse(subject.command(subject.argv, runner.box)[0]) is None
    ):
        return
    try:
        modules = _modules(runner, made)
        why = _difference(runner, made, first, repeats=repeats)
    except ZygoteError as error:
        why = str(error)
    if why:
        runner.cool()
        made.warnings.append(f"no zygote, each trial is an exec: {why}")
        return
    made.preload = modules
    if repeats and len(made.ops) >= stacks.LEAST_OPS:
        found, ops = stacks.stacks_of(runner, made)
        if _shape(made, ops) == _shape(made, made.ops):
            made.stacks = found


def _modules(runner: Runner, made: Record) -> tuple[str, ...]:
    """Warm a zygote that has imported all that can be; return what it was."""
    subject = made.subject
    runner.fill(made.place / "template")
    runner.warm(subject, ())
    modules = runner.imports(subject, timeout=made.limit)
    bad: tuple[str, ...] = ()
    for _ in range(_ATTEMPTS):
        runner.fill(made.place / "template")
        bad = runner.warm(subject, modules)
        if not bad:
            return tuple(modules)
        # What is wrong with a module is most often wrong with its package, which is imported first.
        packages = {name.partition(".")[0] for name in bad}
        modules = [name for name in modules if name.partition(".")[0] not in packages]
    raise ZygoteError(f"importing {bad[0]} beforehand fails, starts threads or opens files")


def _difference(runner: Runner, made: Record, first: Ran, *, repeats: bool) -> str:
    """Say how a run in the zygote differs from the golden run; "" if it does not."""
    ops: list[Op] = []

    def visit(op: Op, _number: int) -> Answer:
        ops.append(op)
        return GO

    runner.fill(made.place / "template")
    ran = runner.run(made.subject, timeout=made.limit, visit=visit)
    if ran.failure():
        return f"in it the run {ran.failure()}"
    after = runner.look(made.subject)
    path = first_difference(made.final, after, made.subject.is_output)
    if path is not None:
        detail = describe_difference(path, made.final, after, made.place / "golden", runner.box)
        return f"in it {path} comes out differently\n{detail}"
    if repeats and _shape(made, ops) != _shape(made, made.ops):
        return f"in it the run makes {len(ops)} ops of another kind or order"
    if ran.acks != first.acks:
        return "in it the run acknowledges something else"
    return ""


def _shape(made: Record, ops: list[Op]) -> list[tuple[str, str, str, int]]:
    ignored = made.subject.is_ignored  # such a file's length may be as random as its content
    return [
        (op.kind, made.fold(op.path), made.fold(op.target), 0 if ignored(op.path) else op.length)
        for op in ops
    ]


def repeated(made: Record, ops: list[Op]) -> bool:
    """Tell whether another golden run made the same ops."""
    return _shape(made, ops) == _shape(made, made.ops)
