"""The golden runs: from scratch twice, and once more on the first one's result."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from outlive_harness.disk.tree import Tree
from outlive_harness.judge import links
from outlive_harness.launch.run import FinishedRun
from outlive_harness.launch.zygote import parse
from outlive_harness.results.findings import Finding
from outlive_harness.results.ops import Op
from outlive_harness.results.patterns import literal
from outlive_harness.results.run_spec import RunSpec, is_of_interpreter
from outlive_harness.world.box import BoxError, BudgetEndedError
from outlive_harness.world.runner import Runner
from outlive_harness.world.shared import shareable

from .advice.cures import Cure, in_words
from .advice.nondeterminism import cures_for_a_log, observed
from .again import compare_runs, forgo_zygote, from_scratch_again, has_times, keep_recording
from .begun import Begun, LimitedKeeper, without_data
from .contents import (
    demand_values,
    difference,
    first_unlike,
    ignored_files,
    learn_uncompared,
    learn_versions,
)
from .crash_check import learn_crash_check, require_crash_check
from .databases import with_databases
from .declaration import check_declaration
from .made_anew import exactly, made_anew
from .moment import tells_the_time, wait_for_another_second
from .names import has_order, later_names
from .one_run import Recorder, run_once
from .preload import learn_check_preload, learn_preload
from .record import SHORTEST_LIMIT, Record, UntestableError
from .stacks import LEAST_OPS, stacks_of

#: How many times the golden run's time a later run may take.
_SLACK = 20.0


#: What to do if a program cannot be executed.
_HOW_TO_NAME = "name a program by its path or as on PATH, make it executable, or give its interpreter first"


def begin_golden_run(runner: Runner, spec: RunSpec, place: Path, *, memory: int) -> Begun | Record:
    """Run a pipeline without a fault, by exec, for the first time; record what the run does and leaves.

    An error of any kind becomes the ``reason`` of a record, and there is nothing more to do.

    Args:
        runner: runs it.
        spec: the pipeline.
        place: the directory of the record.
        memory: bytes of data of its ops that are kept.
    """
    record = Record(spec, place)
    with _reasons(runner, record):
        runner.cool()
        read = runner.prepare(spec, record.template)
        return _begun(runner, record, read, memory)
    return record


def finish_golden_run(
    runner: Runner, begun: Begun, *, by_exec: bool = False, recorder: Recorder | None = None
) -> Record:
    """Run once more on the first run's result, and once more from scratch; compare, and return the record.

    The runs are forked from a zygote, unless *by_exec* forbids it. If a forked run differs it is repeated by
    exec; if that does not differ, trials start by exec too. If there is a recorder, the run from scratch is
    the recording, too.

    An error of any kind becomes the record's ``reason``.

    Args:
        runner: runs it; its box holds what the first run left.
        begun: the first run.
        by_exec: whether all runs start by exec.
        recorder: takes the recording; None for no recording.
    """
    record = begun.record
    with _reasons(runner, record):
        _finish(runner, begun, recorder, by_exec=by_exec)
        if record.reads:  # else the run's own reads are unknown
            record.reads += [*begun.read, *record.spec.scripts]
    return record


@contextlib.contextmanager
def _reasons(runner: Runner, record: Record) -> Iterator[None]:
    """Turn the body's errors into the record's ``reason``; note why no zygote was used."""
    runner.fell_back = ""
    try:
        yield
    except UntestableError as error:
        record.reason, record.cures, record.is_misuse = str(error), error.cures, error.is_misuse
    except BudgetEndedError as error:
        first = f"; the first run took {record.seconds:.0f} s" if record.seconds else ""
        record.reason = f"{error}{first}: three runs without a fault come before the first trial"
        runner.box.empty()
    except BoxError as error:
        record.reason = str(error)
        runner.box.empty()
    except OSError as error:
        why = error.strerror or error
        record.reason = f"cannot run {record.spec.argv[0]!r}: {why}; {_HOW_TO_NAME}"
    if runner.fell_back:
        record.warnings.append(f"no zygote in a golden run, exec instead: {runner.fell_back}")


def _begun(runner: Runner, record: Record, read: list[str], memory: int) -> Begun:
    box, ops, keeper = runner.box, list[Op](), LimitedKeeper(memory)
    record.initial = box.look(record.spec)
    require_crash_check(runner, record, is_over=False)
    first = run_once(runner, record, ops, keeper=keeper, is_first=True)
    record.trace.ops = list(without_data(ops))
    ended = time.time()
    first.demand_success()
    if not record.refused:
        record.shared = shareable(record.template, record.ops)
        box.unchanged.shared.choose(record.template, record.shared)
    everything = _take_in(runner, record, first.ran)
    record.ignored = list(everything)
    box.keep(record.golden)
    made = {path: one for path, one in record.final.items() if record.initial.get(path) != one}
    is_dated = tells_the_time(box.path, made, ended - first.ran.seconds, ended)
    check_declaration(record, box.path)
    _read_values(runner, record)
    require_crash_check(runner, record, is_over=True)
    kept = [] if keeper.is_full else ops
    noted = first.versions.noted()
    return Begun(record, first.ran, noted, everything, ended, is_dated, box.bytes, read, kept)


def _finish(runner: Runner, begun: Begun, recorder: Recorder | None, *, by_exec: bool) -> None:
    record, first = begun.record, begun.noted
    if not by_exec:
        learn_preload(runner, record)
    again = _again_on_its_result(runner, record)
    if begun.is_dated or has_times(record):
        wait_for_another_second(begun.ended)
    second = from_scratch_again(runner, record, recorder)
    second.run.demand_success()
    record.seconds = max(record.seconds, second.run.ran.seconds)
    record.least_ops = min(record.least_ops, second.run.ran.ops)
    record.limit = record.spec.timeout or max(SHORTEST_LIMIT, _SLACK * record.seconds)
    compare_runs(runner, record, again, second)
    if again and first_unlike(record, again) is None:  # it only had other names for what varies
        record.findings = [one for one in record.findings if one.kind != "not-idempotent"]
    if record.findings:
        record.cures = tuple(cures_for_a_log(record, observed(record, again, second.after)))
    noted = second.run.versions.noted()
    learn_versions(record, first, noted)
    learn_uncompared(record, begun.ignored, ignored_files(record, second.everything), (first, noted))
    keep_recording(record, second, recorder)
    _warn(record, begun.ran)
    record.has_order = not second.order
    if record.has_order:
        _learn_stacks(runner, record)


def _take_in(runner: Runner, record: Record, first: FinishedRun) -> Tree:
    """Note what the first run did and left; return the ignored files."""
    record.seconds, record.least_ops, record.ended = first.seconds, first.ops, time.time()
    seconds = max(first.seconds, 1e-9)
    record.busy, record.memory = first.cpu_seconds / seconds, first.memory
    record.idle = first.idle_seconds / seconds / (os.cpu_count() or 1)
    record.trace.outside, record.trace.blind = first.outside, first.blind
    record.reads, record.is_alone = first.reads, first.is_alone
    record.effects, record.acks = first.effects, first.acks
    paths = made_anew(runner.box.path, (path for path, _ in record.trace.blind))
    record.trace.blind = [
        (path, f"not judged: {path} is {paths[path]}, which it makes anew" if path in paths else why)
        for path, why in record.trace.blind
    ]
    record.spec = replace(record.spec, ignore=(*dict.fromkeys((*record.spec.ignore, *exactly(paths))),))
    record.led_to = links.targets(record.initial, record.ops, os.fsdecode(runner.box.bytes))
    everything = runner.box.look(record.spec, whole=True)
    record.final = record.compared(everything)
    return ignored_files(record, everything)


def _read_values(runner: Runner, record: Record) -> None:
    """Replace the digests of outputs by those of their values, where they have readers.

    A database of SQLite has one in any case: what an open one shows is never its bytes.

    Raises:
        UntestableError: a reader does not accept what the golden run left, or has nothing to read.
    """
    asked = record.spec
    record.spec = with_databases(asked, record.final, record.golden)
    record.initial = runner.reading.valued(record.spec, record.initial, record.template)
    record.final = runner.reading.valued(record.spec, record.final, record.golden)
    demand_values(record, asked)


def _learn_stacks(runner: Runner, record: Record) -> None:
    """Learn the stacks of the ops, if there are so many ops that points must be chosen."""
    argv = record.spec.command(record.spec.argv, runner.box.path)[0]
    if parse(argv) is not None and len(record.ops) >= LEAST_OPS:
        stacks, ops = stacks_of(runner, record)
        record.stacks = stacks if has_order(record, ops) else []


# -- once more on its own result -----------------------------------------------------------------------


def _again_on_its_result(runner: Runner, record: Record) -> Tree:
    """Run on the golden run's own result, which must change no output; return what the run leaves."""
    spec = record.spec
    finding, after = _changes(runner, record)
    if finding is not None and runner.is_warm(spec):
        why = finding.message
        runner.cool()
        runner.box.fill(record.golden)
        finding, after = _changes(runner, record)
        if finding is None:
            forgo_zygote(record, why)
        elif record.preload is not None:
            runner.warm(spec, record.preload)
    if finding is not None:
        record.findings.append(finding)
    if spec.check:
        _check(runner, record)
    if spec.crash_check:
        learn_crash_check(runner, record)
    return after


def _check(runner: Runner, record: Record) -> None:
    spec = record.spec
    said = runner.check(spec, record.acks)
    record.value = said.value
    if said.failed:
        raise UntestableError(
            f"the check fails with no fault: it {said.failure}; correct it: what the run leaves must pass"
        )
    # A check whose reads are noted is intercepted, which a program can notice: its value is not used.
    read = runner.check(spec, record.acks, reads=True).reads
    record.reads += read if record.reads else []
    if record.preload is not None:

        def gives() -> bool:
            said = runner.check(spec, record.acks)
            return not said.failed and said.value == record.value

        learn_check_preload(runner, record, read, gives)


def _changes(runner: Runner, record: Record) -> tuple[Finding | None, Tree]:
    """Run on the golden run's own result; return a finding if that changes an output, and its files.

    Raises:
        UntestableError: the run failed, perhaps because of the harness.
    """
    run = run_once(runner, record, [])
    if run.failure:
        sentence = "the pipeline, run again on its own result with no crash,"
        hindered = "" if record.refused else run.ran.hindered()
        if hindered:
            raise UntestableError(f"{sentence} {hindered}")
        return Finding("not-idempotent", "", f"{sentence} {run.ran.failure()}", run.ran.told), {}
    after = runner.look(record.spec)
    path = first_unlike(record, after)
    if path is None:
        return None, after
    runner.box.expect_room(record.final)
    detail = difference(runner, record, path, after)
    return Finding("not-idempotent", path, f"a second run, with no crash, changes {path}", detail), after


def _warn(record: Record, first: FinishedRun) -> None:
    """Note changes that could not be seen, and files that the run left outside its box.

    Raises:
        UntestableError: changes of an output could not be seen.
    """
    record.warnings += [
        f"writes outside its box, where no crash state can hold it: {path}"
        for path in record.trace.outside
        if not is_of_interpreter(path)
    ]
    reason = ""
    for path, why in record.trace.blind:
        output = next((name for name in later_names(path, record.ops) if record.is_shown(name)), None)
        if path and output is None:
            record.warnings.append(why)
        elif not reason:
            reason = why if output in (None, path) else f"{why}, and it becomes {output}"
            if output is not None:
                ignored = in_words(record.spec, [Cure("ignore", literal(output))])
                reason += f"; let it be written by calls, or leave it out: {ignored}"
    record.warnings += first.unlent
    if first.lingering:
        record.warnings.append("it leaves processes running when it ends; they were killed")
    if reason:
        raise UntestableError(reason)
