"""The golden runs: from scratch twice, and once more on the first one's result."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

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
from outlive_harness.results.run_spec import RunSpec, is_of_interpreter
from outlive_harness.world.box import BoxError
from outlive_harness.world.runner import Runner

from .contents import first_unlike, ignored_files, learn_uncompared, learn_versions
from .declaration import demand_meaning
from .made_anew import ignored, made_anew
from .names import has_order, later_names, learn_names
from .preload import warm_up, warm_up_check
from .record import SHORTEST_LIMIT, Record, UntestableError
from .stacks import LEAST_OPS, stacks_of

#: Seconds that a golden run may take where the scenario sets no limit.
_PATIENCE = 3600.0
#: How many times the golden run's time a later run may take.
_SLACK = 20.0


def golden_run(runner: Runner, spec: RunSpec, place: Path, *, by_exec: bool = False) -> Record:
    """Run a pipeline without any fault, and keep what later trials are compared with.

    The first run is an exec. Further ones are forked from a zygote, unless *by_exec* forbids it; where
    one comes out differently an exec has the last word, and trials are execs as well.

    Trouble of any kind becomes the record's ``reason``.
    """
    made = Record(spec, place)
    runner.fell_back = ""
    try:
        runner.cool()
        read = runner.prepare(spec, made.template)
        _record(runner, made, by_exec=by_exec)
        if made.reads:  # otherwise it is not known what the run itself read
            made.reads += read
    except UntestableError as error:
        made.reason = str(error)
    except BoxError as error:
        made.reason = str(error)
        runner.box.empty()
    except OSError as error:
        made.reason = f"cannot run {spec.argv[0]!r}: {error.strerror or error}"
    if runner.fell_back:
        made.warnings.append(f"no zygote in a golden run, exec instead: {runner.fell_back}")
    return made


def _record(runner: Runner, made: Record, *, by_exec: bool) -> None:
    box = runner.box
    made.initial = box.look(made.spec)
    first = _run(runner, made, made.trace.ops)
    first.demand_success()
    _take_in(runner, made, first.ran)
    everything = ignored_files(box, made)
    made.ignored = list(everything)
    box.keep(made.golden)
    demand_meaning(made, box.path)
    if not by_exec:
        warm_up(runner, made)
    _again_on_its_result(runner, made)
    second = _second(runner, made, first)
    second.run.demand_success()
    made.seconds = max(made.seconds, second.run.ran.seconds)
    made.least_ops = min(made.least_ops, second.run.ran.ops)
    made.limit = made.spec.timeout or max(SHORTEST_LIMIT, _SLACK * made.seconds)
    _compare_runs(runner, made)
    learn_versions(made, first.versions, second.run.versions)
    learn_uncompared(made, everything, ignored_files(box, made), (first.versions, second.run.versions))
    _warn(made, first.ran)
    made.has_order = not second.order
    if made.has_order:
        _learn_stacks(runner, made)


def _take_in(runner: Runner, made: Record, first: FinishedRun) -> None:
    """Note what the first run did, and what it left."""
    made.seconds, made.least_ops = first.seconds, first.ops
    made.trace.outside, made.trace.blind = first.outside, first.blind
    made.reads, made.is_alone = first.reads, first.is_alone
    made.effects, made.acks = first.effects, first.acks
    paths = made_anew(runner.box.path, (path for path, _ in made.trace.blind))
    made.trace.blind = [
        (path, f"not judged: {path} is {paths[path]}, which it makes anew" if path in paths else why)
        for path, why in made.trace.blind
    ]
    made.spec = replace(made.spec, ignore=(*dict.fromkeys((*made.spec.ignore, *ignored(paths))),))
    made.final = runner.box.look(made.spec)
    made.led_to = links.targets(made.initial, made.ops, os.fsdecode(runner.box.bytes))


def _learn_stacks(runner: Runner, made: Record) -> None:
    """Find out where in the program its ops come from, if it makes so many that it matters."""
    argv = made.spec.command(made.spec.argv, runner.box.path)[0]
    if parse(argv) is not None and len(made.ops) >= LEAST_OPS:
        stacks, ops = stacks_of(runner, made)
        made.stacks = stacks if has_order(made, ops) else []


@dataclass(frozen=True, slots=True)
class _GoldenRun:
    """One run with no fault.

    Attributes:
        ran: how it went.
        versions: the whole contents of outputs that it made.
        failure: how it failed, with what it said; "" if it did not fail.
    """

    ran: FinishedRun
    versions: Versions
    failure: str = ""

    def demand_success(self) -> None:
        """Raise if it failed.

        Raises:
            UntestableError: it did.
        """
        if self.failure:
            raise UntestableError(self.failure)


def _run(runner: Runner, made: Record, ops: list[Op]) -> _GoldenRun:
    """Run with no fault; the first run also shows what it reads, and more that is not asked again."""
    spec = made.spec
    versions = Versions(Path(os.path.realpath(runner.box.path)), made.is_watched)
    is_first = ops is made.trace.ops

    def visit(op: Op, _number: int) -> Answer:
        ops.append(op)
        versions.before(op)
        if is_first:
            company = has_company(op.tid, runner.spared)
            made.signals.append(~0 if company else handled_signals(op.tid))
        return GO

    options = RunOptions(timeout=spec.timeout or _PATIENCE)
    try:
        if made.refused:
            ran = runner.run(spec, options)
        else:
            ran = runner.run(spec, replace(options, visit=visit, reads=is_first))
    except InterceptionRefusedError as error:
        made.refused = f"calls cannot be intercepted here: {error.strerror or error}"
        ran = runner.run(spec, options)
    if not ran.failure():
        return _GoldenRun(ran, versions)
    runner.box.expect_room(made.final or made.initial, ran.told)
    failure = f"the pipeline fails with no fault: it {ran.failure()}"
    failure += f"\n{ran.told}" if ran.told else ""
    failure += f"\n{_of_crossing(ran.crossing)}" if ran.crossing else ""
    return _GoldenRun(ran, versions, failure)


def _of_crossing(call: str) -> str:
    """Say what a program may have failed of that moved a file to another file system."""
    return (
        f"before that, {call} failed with EXDEV: the temporary directory is another file system than the "
        "outputs here, as on most machines; write temporary files beside the destination, or say that "
        'both are on one file system: --tmp same (in a scenario: tmp="same")'
    )


# -- once more on its own result -----------------------------------------------------------------------


def _again_on_its_result(runner: Runner, made: Record) -> None:
    """A second run with no crash must change no output."""
    spec = made.spec
    finding = _changes(runner, made)
    if finding is not None and runner.is_warm(spec):
        why = finding.message
        runner.cool()
        runner.box.fill(made.golden)
        finding = _changes(runner, made)
        if finding is None:
            _switch_off(made, why)
        elif made.preload is not None:
            runner.warm(spec, made.preload)
    if finding is not None:
        made.findings.append(finding)
    if spec.check:
        _check(runner, made)


def _check(runner: Runner, made: Record) -> None:
    spec = made.spec
    said = runner.check(spec, made.acks)
    made.value = said.value
    if said.failed:
        raise UntestableError(f"the check fails with no fault: it {said.failure}")
    # A run that shows what it reads is intercepted, and a program can notice: its value is not used.
    read = runner.check(spec, made.acks, reads=True).reads
    made.reads += read if made.reads else []
    if made.preload is not None:
        warm_up_check(runner, made, read)


def _changes(runner: Runner, made: Record) -> Finding | None:
    """Run on the golden run's own result; return what that changes.

    Raises:
        UntestableError: it failed, and that may be the harness's doing.
    """
    run = _run(runner, made, [])
    if run.failure:
        sentence = "the pipeline, run again on its own result with no crash,"
        hindered = "" if made.refused else run.ran.hindered()
        if hindered:
            raise UntestableError(f"{sentence} {hindered}")
        return Finding("not-idempotent", "", f"{sentence} {run.ran.failure()}", run.ran.told)
    after = runner.box.look(made.spec)
    path = first_unlike(made, after)
    if path is None:
        return None
    runner.box.expect_room(made.final)
    detail = describe_difference(path, made.final, after, made.golden, runner.box.path)
    return Finding("not-idempotent", path, f"a second run, with no crash, changes {path}", detail)


# -- from scratch once more ----------------------------------------------------------------------------


@dataclass(slots=True)
class _Second:
    """The second run from scratch.

    Attributes:
        run: how it went.
        outcome: how what it leaves or acknowledges differs from the first run's.
        order: how its ops differ from the first run's.
    """

    run: _GoldenRun
    outcome: str = ""
    order: str = ""


def _second(runner: Runner, made: Record, first: _GoldenRun) -> _Second:
    """Run from scratch once more; a zygote that comes to something else than exec is no longer used."""
    second = _from_scratch(runner, made, first)
    if runner.is_warm(made.spec) and (second.outcome or second.order):
        runner.cool()
        forked, second = second, _from_scratch(runner, made, first)
        if forked.outcome and not second.outcome:
            _switch_off(made, f"in it {forked.outcome}")
        elif forked.order and not second.order:
            _switch_off(made, f"in it {forked.order}")
    return second


def _switch_off(made: Record, why: str) -> None:
    made.preload = made.check_preload = None
    made.warnings.append(f"no zygote, each trial is an exec: {why}")


def _from_scratch(runner: Runner, made: Record, first: _GoldenRun) -> _Second:
    runner.box.fill(made.template)
    ops: list[Op] = []
    second = _Second(_run(runner, made, ops))
    if second.run.failure:
        second.outcome = second.run.failure
        return second
    after = runner.box.look(made.spec)
    path = first_unlike(made, after)
    if path is not None:
        detail = describe_difference(path, made.final, after, made.golden, runner.box.path)
        second.outcome = f"{path} comes out differently\n{detail}"
    elif second.run.ran.acks != first.ran.acks:
        second.outcome = "the run acknowledges something else"
    learn_names(made, ops)
    if not has_order(made, ops):
        second.order = f"the run makes {len(ops)} ops of another kind or order"
    return second


def _compare_runs(runner: Runner, made: Record) -> None:
    """Two golden runs must leave the same outputs, or nothing can be compared with them.

    Raises:
        UntestableError: they do not.
    """
    spec = made.spec
    again = runner.box.look(spec)
    path = first_unlike(made, again)
    if path is not None:
        runner.box.expect_room(made.final)
        detail = describe_difference(path, made.final, again, made.golden, runner.box.path)
        raise UntestableError(f"nondeterministic: two runs with no fault differ in {path}\n{detail}")
    if spec.check and not made.findings:
        said = runner.check(spec, made.acks)
        if said.failed or said.value != made.value:
            then = said.failure or said.value
            raise UntestableError(f"nondeterministic: the check gave {made.value} and then {then}")
    # What only one run leaves (a random name) is as little litter as what both leave.
    made.final = {**again, **made.final}


def _warn(made: Record, first: FinishedRun) -> None:
    """Note what was out of sight, and what the run left outside its box.

    Raises:
        UntestableError: an output was out of sight.
    """
    made.warnings += [
        f"writes outside its box, where no crash state can hold it: {path}"
        for path in made.trace.outside
        if not is_of_interpreter(path)
    ]
    reason = ""
    for path, why in made.trace.blind:
        output = next((name for name in later_names(path, made.ops) if made.is_shown(name)), None)
        if path and output is None:
            made.warnings.append(why)
        elif not reason:
            reason = why if output in (None, path) else f"{why}, and it becomes {output}"
    if first.lingering:
        made.warnings.append("it leaves processes running when it ends; they were killed")
    if reason:
        raise UntestableError(reason)
