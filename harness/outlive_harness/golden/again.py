"""The second run from scratch: what differs from the first differs from run to run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from outlive_harness.disk.blobs import Blobs, BlobsError
from outlive_harness.disk.tree import Tree
from outlive_harness.readers.formats import has_time
from outlive_harness.results.ops import Op
from outlive_harness.world.checks import difference as difference_of_values
from outlive_harness.world.reading import Valued
from outlive_harness.world.runner import Runner

from .advice.by_value import by_value
from .advice.cures import Cure
from .advice.habits import is_ignored_by_name
from .advice.nondeterminism import advice, cures_for, observed
from .advice.tried import tried
from .contents import (
    all_unlike,
    difference,
    first_unlike,
)
from .moment import wait_for_another_second
from .names import aligned, has_order, learn_names
from .one_run import GoldenRun, Recorder, run_once
from .record import Record, UntestableError

#: Seconds of a run that is made once more to learn what differs.
_SHORT = 60.0


@dataclass(slots=True)
class Second:
    """The second run from scratch.

    Attributes:
        run: the run.
        began: when it began, in seconds since the epoch.
        ops: its ops.
        blobs: what took the data that they wrote; None if they are without it.
        after: the files that it left, without the ignored ones.
        everything: the files that it left, with the ignored ones.
        unlike: the first output in which it differs from the first run; None if there is none.
        outcome: how its files or acknowledgements differ from the first run's; "" if they do not.
        order: how its ops differ from the first run's; "" if they do not.
    """

    run: GoldenRun
    began: float
    ops: list[Op]
    blobs: Blobs | None = None
    after: Tree = field(default_factory=dict)
    everything: Tree = field(default_factory=dict)
    unlike: str | None = None
    outcome: str = ""
    order: str = ""


def from_scratch_again(runner: Runner, record: Record, recorder: Recorder | None = None) -> Second:
    """Run from scratch once more; a zygote whose run differs from one by exec is not used any more.

    With a recorder, the ops of the run carry their data: see keep_recording().
    """
    second = _from_scratch(runner, record, recorder)
    if runner.is_warm(record.spec) and (second.outcome or second.order):
        runner.cool()
        forked, second = second, _from_scratch(runner, record, recorder)
        if forked.blobs is not None:
            forked.blobs.close()
        if forked.outcome and not second.outcome:
            forgo_zygote(record, f"in it {forked.outcome}")
        elif forked.order and not second.order:
            forgo_zygote(record, f"in it {forked.order}")
    return second


def forgo_zygote(record: Record, why: str) -> None:
    record.preload = None
    record.check_preloads.clear()
    record.warnings.append(f"no zygote, each trial is an exec: {why}")


def keep_recording(record: Record, second: Second, recorder: Recorder | None) -> None:
    """Keep the second run as the recording of the first run; its files must still be in the box."""
    if recorder is not None and second.blobs is not None:
        recorder.keep(record, second.run, second.ops, second.everything)
        second.blobs.leave()


def _run_recorded(runner: Runner, record: Record, recorder: Recorder | None) -> Second:
    """Run from scratch, with the data of the ops if there is room for it."""
    runner.box.fill(record.template)
    ops: list[Op] = []
    began = time.time()
    if recorder is None or record.refused:
        return Second(run_once(runner, record, ops), began, ops)
    blobs = recorder.room(record)
    try:
        return Second(run_once(runner, record, ops, keeper=blobs), began, ops, blobs)
    except BlobsError:
        blobs.close()
    return _run_recorded(runner, record, None)


def _from_scratch(runner: Runner, record: Record, recorder: Recorder | None) -> Second:
    second = _run_recorded(runner, record, recorder)
    ops = second.ops
    if second.run.failure:
        second.outcome = second.run.failure
        return second
    second.everything = runner.box.look(record.spec, whole=True)
    second.after = runner.valued(record.spec, record.compared(second.everything))
    learn_names(record, ops, second.after)
    second.unlike = first_unlike(record, second.after)
    if second.unlike is not None:
        second.outcome = f"{second.unlike} differs\n{_difference(runner, record, second)}"
    elif second.run.ran.acks != record.acks:
        second.outcome = "the run acknowledges something else"
    if not has_order(record, ops):
        second.order = f"the run makes {len(ops)} ops of another kind or order"
    return second


def _difference(runner: Runner, record: Record, second: Second) -> str:
    assert second.unlike is not None
    return difference(runner, record, second.unlike, second.after)


def compare_runs(runner: Runner, record: Record, again: Tree, second: Second) -> None:
    """Compare the outputs of two golden runs; if they differ nothing can be compared with them.

    Raises:
        UntestableError: they differ.
    """
    spec = record.spec
    if second.unlike is not None:
        runner.box.expect_room(record.final)
        detail = _difference(runner, record, second)
        why = f"nondeterministic: two runs with no fault differ in {second.unlike}\n{detail}"
        cures = _cures(runner, record, again, second)
        raise UntestableError(f"{why}\n{advice(spec, cures)}", cures)
    if spec.check and not record.findings:
        said = runner.check(spec, record.acks)
        if said.failed:
            raise UntestableError(
                f"nondeterministic: the check holds after one run and not after another: it {said.failure}"
            )
        if said.value != record.value:
            raise UntestableError(
                "nondeterministic: the check gives another value after a second run; let it return only what "
                f"is the same after each run\n{difference_of_values(record.value, said.value)}"
            )
    # A file that only one golden run leaves (under a random name) is not litter either.
    record.final = {**aligned(record, second.after), **record.final}


def has_times(record: Record) -> bool:
    """Return whether an output that is judged by its bytes holds a time in whole seconds, by its format."""
    return any(
        has_time(record.golden / path)
        for path, entry in record.final.items()
        if entry.kind == "file" and record.spec.is_output(path) and not isinstance(entry, Valued)
    )


def _cures(runner: Runner, record: Record, again: Tree, second: Second) -> list[Cure]:
    """Return what to declare so that runs do not differ."""
    is_short, after = record.seconds < _SHORT, second.after
    if is_short and int(second.began) == int(record.ended):
        # A run in another second shows what differs by the time only, such as a gzip header.
        after = _in_another_second(runner, record) or after
    unlike = all_unlike(record, after)
    found = by_value(runner, record, unlike)
    left = {path for path in unlike if path not in found.paths and not is_ignored_by_name(path)}
    if is_short and not record.refused:
        found = tried(runner, record, found, left)
    return cures_for(record.spec, observed(record, again, after), found)


def _in_another_second(runner: Runner, record: Record) -> Tree:
    """Return the files of a further run, in another second than the first; nothing if it failed."""
    wait_for_another_second(record.ended)
    runner.box.fill(record.template)
    return {} if run_once(runner, record, []).failure else runner.look(record.spec)
