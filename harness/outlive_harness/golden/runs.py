"""The golden runs: from scratch twice, and once more on the first one's result."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from outlive_harness.disk.tree import Tree
from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.intercept.task import handled_signals
from outlive_harness.intercept.versions import Versions
from outlive_harness.judge import links
from outlive_harness.judge.trees import describe_difference
from outlive_harness.launch.exec import InterceptionRefusedError
from outlive_harness.launch.options import RunOptions
from outlive_harness.launch.reap import has_company
from outlive_harness.launch.run import FinishedRun
from outlive_harness.launch.zygote import parse
from outlive_harness.results.findings import Finding
from outlive_harness.results.ops import Op
from outlive_harness.results.patterns import literal
from outlive_harness.results.run_spec import RunSpec, is_of_interpreter
from outlive_harness.world.box import BoxError
from outlive_harness.world.runner import Runner
from outlive_harness.world.shared import shareable

from .absent import hint
from .contents import first_unlike, ignored_files, learn_uncompared, learn_versions
from .cures import Cure, in_words
from .declaration import check_declaration
from .made_anew import ignored, made_anew
from .moment import tells_the_time, wait_for_another_second
from .names import has_order, later_names, learn_names
from .nondeterminism import advice, cures_for, cures_for_a_log, observed
from .preload import learn_check_preload, learn_preload
from .record import SHORTEST_LIMIT, Record, UntestableError
from .seed import cure_by_seed
from .stacks import LEAST_OPS, stacks_of

#: Seconds that a golden run may take if the scenario sets no limit.
_PATIENCE = 3600.0
#: How many times the golden run's time a later run may take.
_SLACK = 20.0


#: What to do if a program cannot be executed.
_HOW_TO_NAME = "name a program by its path or as on PATH, make it executable, or give its interpreter first"


def golden_run(runner: Runner, spec: RunSpec, place: Path, *, by_exec: bool = False) -> Record:
    """Run a pipeline without a fault, and record what trials are compared with.

    The first run starts by exec, and further ones are forked from a zygote, unless *by_exec* forbids it. If a
    forked run differs it is repeated by exec; if that does not differ, trials start by exec too.

    An error of any kind becomes the record's ``reason``.
    """
    record = Record(spec, place)
    runner.fell_back = ""
    try:
        runner.cool()
        read = runner.prepare(spec, record.template)
        _record(runner, record, by_exec=by_exec)
        if record.reads:  # else the run's own reads are unknown
            record.reads += [*read, *spec.scripts]
    except UntestableError as error:
        record.reason, record.cures = str(error), error.cures
    except BoxError as error:
        record.reason = str(error)
        runner.box.empty()
    except OSError as error:
        record.reason = f"cannot run {spec.argv[0]!r}: {error.strerror or error}; {_HOW_TO_NAME}"
    if runner.fell_back:
        record.warnings.append(f"no zygote in a golden run, exec instead: {runner.fell_back}")
    return record


def _record(runner: Runner, record: Record, *, by_exec: bool) -> None:
    box = runner.box
    record.initial = box.look(record.spec)
    first = _run(runner, record, record.trace.ops)
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
    if not by_exec:
        learn_preload(runner, record)
    again = _again_on_its_result(runner, record)
    if is_dated:
        wait_for_another_second(ended)
    second = _second(runner, record, first)
    second.run.demand_success()
    record.seconds = max(record.seconds, second.run.ran.seconds)
    record.least_ops = min(record.least_ops, second.run.ran.ops)
    record.limit = record.spec.timeout or max(SHORTEST_LIMIT, _SLACK * record.seconds)
    _compare_runs(runner, record, again, second)
    if record.findings:
        record.cures = tuple(cures_for_a_log(record, observed(record, again, second.after)))
    learn_versions(record, first.versions, second.run.versions)
    learn_uncompared(record, everything, second.ignored, (first.versions, second.run.versions))
    _warn(record, first.ran)
    record.has_order = not second.order
    if record.has_order:
        _learn_stacks(runner, record)


def _take_in(runner: Runner, record: Record, first: FinishedRun) -> Tree:
    """Note what the first run did and left; return the ignored files."""
    record.seconds, record.least_ops = first.seconds, first.ops
    record.trace.outside, record.trace.blind = first.outside, first.blind
    record.reads, record.is_alone = first.reads, first.is_alone
    record.effects, record.acks = first.effects, first.acks
    paths = made_anew(runner.box.path, (path for path, _ in record.trace.blind))
    record.trace.blind = [
        (path, f"not judged: {path} is {paths[path]}, which it makes anew" if path in paths else why)
        for path, why in record.trace.blind
    ]
    record.spec = replace(record.spec, ignore=(*dict.fromkeys((*record.spec.ignore, *ignored(paths))),))
    record.led_to = links.targets(record.initial, record.ops, os.fsdecode(runner.box.bytes))
    everything = runner.box.look(record.spec, whole=True)
    record.final = record.compared(everything)
    return ignored_files(record, everything)


def _learn_stacks(runner: Runner, record: Record) -> None:
    """Learn the stacks of the ops, if there are so many ops that points must be chosen."""
    argv = record.spec.command(record.spec.argv, runner.box.path)[0]
    if parse(argv) is not None and len(record.ops) >= LEAST_OPS:
        stacks, ops = stacks_of(runner, record)
        record.stacks = stacks if has_order(record, ops) else []


@dataclass(frozen=True, slots=True)
class _GoldenRun:
    """One run without a fault.

    Attributes:
        ran: the run.
        versions: the whole contents of outputs that it made.
        failure: how it failed, with its output; "" if it did not fail.
    """

    ran: FinishedRun
    versions: Versions
    failure: str = ""

    def demand_success(self) -> None:
        """Raise an error if the run failed.

        Raises:
            UntestableError: the run failed.
        """
        if self.failure:
            raise UntestableError(self.failure)


def _run(runner: Runner, record: Record, ops: list[Op]) -> _GoldenRun:
    """Run without a fault; only the first run notes what it reads, and which signals end it."""
    spec = record.spec
    versions = Versions(Path(os.path.realpath(runner.box.path)), record.is_watched)
    is_first = ops is record.trace.ops

    def visit(op: Op, _number: int) -> Answer:
        ops.append(op)
        versions.before(op)
        if is_first:
            company = has_company(op.tid, runner.spared)
            record.signals.append(~0 if company else handled_signals(op.tid))
        return GO

    options = RunOptions(timeout=spec.timeout or _PATIENCE)
    try:
        if record.refused:
            ran = runner.run(spec, options)
        else:
            ran = runner.run(spec, replace(options, visit=visit, reads=is_first))
    except InterceptionRefusedError as error:
        record.refused = f"calls cannot be intercepted here: {error.strerror or error}"
        ran = runner.run(spec, options)
    if not ran.failure():
        return _GoldenRun(ran, versions)
    runner.box.expect_room(record.final or record.initial, ran.told)
    failure = f"the pipeline fails with no fault: it {ran.failure()}"
    failure += f"\n{ran.told}" if ran.told else ""
    hints = (
        _of_crossing(ran.crossing) if ran.crossing else "",
        hint(runner, record, ran, ops) if is_first else "",
    )
    failure += "".join(f"\n{one}" for one in hints if one)
    return _GoldenRun(ran, versions, failure)


def _of_crossing(call: str) -> str:
    """Return a hint for a program that tried to move a file to another file system."""
    return (
        f"before that, {call} failed with EXDEV: the temporary directory is another file system than the "
        "outputs here, as on most machines; write temporary files beside the destination, or say that "
        'both are on one file system: --tmp same (in a scenario: tmp="same")'
    )


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
            _forgo_zygote(record, why)
        elif record.preload is not None:
            runner.warm(spec, record.preload)
    if finding is not None:
        record.findings.append(finding)
    if spec.check:
        _check(runner, record)
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
        learn_check_preload(runner, record, read)


def _changes(runner: Runner, record: Record) -> tuple[Finding | None, Tree]:
    """Run on the golden run's own result; return a finding if that changes an output, and its files.

    Raises:
        UntestableError: the run failed, perhaps because of the harness.
    """
    run = _run(runner, record, [])
    if run.failure:
        sentence = "the pipeline, run again on its own result with no crash,"
        hindered = "" if record.refused else run.ran.hindered()
        if hindered:
            raise UntestableError(f"{sentence} {hindered}")
        return Finding("not-idempotent", "", f"{sentence} {run.ran.failure()}", run.ran.told), {}
    after = runner.box.look(record.spec)
    path = first_unlike(record, after)
    if path is None:
        return None, after
    runner.box.expect_room(record.final)
    detail = describe_difference(path, record.final, after, record.golden, runner.box.path)
    return Finding("not-idempotent", path, f"a second run, with no crash, changes {path}", detail), after


# -- from scratch once more ----------------------------------------------------------------------------


@dataclass(slots=True)
class _Second:
    """The second run from scratch.

    Attributes:
        run: the run.
        after: the files that it left, without the ignored ones.
        ignored: the ignored files that it left.
        unlike: the first output in which it differs from the first run; None if there is none.
        outcome: how its files or acknowledgements differ from the first run's; "" if they do not.
        order: how its ops differ from the first run's; "" if they do not.
    """

    run: _GoldenRun
    after: Tree = field(default_factory=dict)
    ignored: Tree = field(default_factory=dict)
    unlike: str | None = None
    outcome: str = ""
    order: str = ""


def _second(runner: Runner, record: Record, first: _GoldenRun) -> _Second:
    """Run from scratch once more; a zygote whose run differs from one by exec is not used any more."""
    second = _from_scratch(runner, record, first)
    if runner.is_warm(record.spec) and (second.outcome or second.order):
        runner.cool()
        forked, second = second, _from_scratch(runner, record, first)
        if forked.outcome and not second.outcome:
            _forgo_zygote(record, f"in it {forked.outcome}")
        elif forked.order and not second.order:
            _forgo_zygote(record, f"in it {forked.order}")
    return second


def _forgo_zygote(record: Record, why: str) -> None:
    record.preload = record.check_preload = None
    record.warnings.append(f"no zygote, each trial is an exec: {why}")


def _from_scratch(runner: Runner, record: Record, first: _GoldenRun) -> _Second:
    runner.box.fill(record.template)
    ops: list[Op] = []
    second = _Second(_run(runner, record, ops))
    if second.run.failure:
        second.outcome = second.run.failure
        return second
    everything = runner.box.look(record.spec, whole=True)
    second.after, second.ignored = record.compared(everything), ignored_files(record, everything)
    second.unlike = first_unlike(record, second.after)
    if second.unlike is not None:
        second.outcome = f"{second.unlike} differs\n{_difference(runner, record, second)}"
    elif second.run.ran.acks != first.ran.acks:
        second.outcome = "the run acknowledges something else"
    learn_names(record, ops)
    if not has_order(record, ops):
        second.order = f"the run makes {len(ops)} ops of another kind or order"
    return second


def _difference(runner: Runner, record: Record, second: _Second) -> str:
    assert second.unlike is not None
    return describe_difference(second.unlike, record.final, second.after, record.golden, runner.box.path)


def _compare_runs(runner: Runner, record: Record, again: Tree, second: _Second) -> None:
    """Compare the outputs of two golden runs; if they differ nothing can be compared with them.

    Raises:
        UntestableError: they differ.
    """
    spec = record.spec
    if second.unlike is not None:
        runner.box.expect_room(record.final)
        detail = _difference(runner, record, second)
        why = f"nondeterministic: two runs with no fault differ in {second.unlike}\n{detail}"
        seen = observed(record, again, second.after)
        cures = cure_by_seed(runner, record) or cures_for(spec, seen)
        raise UntestableError(f"{why}\n{advice(spec, cures)}", cures)
    if spec.check and not record.findings:
        said = runner.check(spec, record.acks)
        if said.failed or said.value != record.value:
            then = said.failure or said.value
            raise UntestableError(
                f"nondeterministic: the check gave {record.value} and then {then}; let it return only what "
                "is the same after each run"
            )
    # A file that only one golden run leaves (under a random name) is not litter either.
    record.final = {**second.after, **record.final}


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
    if first.lingering:
        record.warnings.append("it leaves processes running when it ends; they were killed")
    if reason:
        raise UntestableError(reason)
