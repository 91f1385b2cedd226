"""The golden run: recorded twice from scratch, and once more on its own result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from outlive_harness.disk.tree import Entry, Tree
from outlive_harness.globs import common_ends, matcher
from outlive_harness.intercept import abi
from outlive_harness.intercept.supervisor import GO, Answer
from outlive_harness.intercept.task import handled_signals
from outlive_harness.intercept.versions import Versions
from outlive_harness.judge import describe_difference, first_difference
from outlive_harness.launch.exec import InterceptionRefusedError
from outlive_harness.launch.reap import has_company
from outlive_harness.launch.run import Ran
from outlive_harness.launch.zygote import Preload, parse
from outlive_harness.scenario import ACK_PATTERN
from outlive_harness.trace import Op, Trace

from . import links
from .acks import lost_acks
from .made_anew import ignored, made_anew
from .results import Finding
from .runner import BoxError, Runner
from .subject import Subject, is_of_interpreter

#: Seconds that a golden run may take where the scenario sets no limit.
_PATIENCE = 3600.0
_SHORTEST_LIMIT = 30.0
_SLACK = 20.0


@dataclass(slots=True)
class Record:
    """What is known of a subject before any fault strikes it.

    Attributes:
        reason: why nothing can be tested, and so the verdict is unknown; "" if it can.
        trace: the ops of the first run.
        least_ops: the fewest ops that a golden run made.
        initial: the files before the run.
        final: the files after it.
        versions: digests of every whole content, by output path.
        varying: outputs whose intermediate contents differ between golden runs.
        stable: paths that both golden runs used.
        led_to: paths of the box that symbolic links lead to.
        uncompared: outputs that are ignored and differ from run to run, as the first run left them: only
            what is visible of them half-written is judged.
        signals: those that do not end the run before each op, as bits: what is caught, blocked or ignored
            (proc_pid_status(5)), and all where another process is alive beside the first.
        is_alone: whether the first thread of the first process made all calls that were looked at.
        has_order: whether the golden runs made the same ops in the same order.
        shapes: names that differ from run to run, by (directory, length): prefix and suffix around
            their random part.
        value: what the check printed after it.
        acks: what it acknowledged.
        findings: violations that need no crash: ``not-idempotent``.
        reads: paths outside its box that the first run, or the setup before it, opened or ran.
        stacks: where in the program each op comes from, where that is known.
        preload: what a zygote does beforehand; None where each trial is an exec.
        check_preload: the same for the check.
        refused: why calls could not be intercepted; "" if they were.
        ignored: files of the golden run that no check looks at.
        effects: addresses that it connected or sent to, with the number of calls.
        seconds: wall time of the longer golden run.
        limit: seconds that any later run may take.
        place: directory with ``template`` (the initial files) and ``golden`` (the final ones).
    """

    subject: Subject
    place: Path
    reason: str = ""
    trace: Trace = field(default_factory=Trace)
    least_ops: int = 0
    initial: Tree = field(default_factory=dict)
    final: Tree = field(default_factory=dict)
    versions: dict[str, set[str]] = field(default_factory=dict)
    varying: set[str] = field(default_factory=set)
    stable: set[str] = field(default_factory=set)
    led_to: frozenset[str] = frozenset()
    uncompared: Tree = field(default_factory=dict)
    signals: list[int] = field(default_factory=list)
    is_alone: bool = False
    has_order: bool = False
    shapes: dict[tuple[str, int], set[tuple[str, str]]] = field(default_factory=dict)
    value: str = ""
    acks: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    stacks: list[str] = field(default_factory=list)
    preload: Preload | None = None
    check_preload: Preload | None = None
    refused: str = ""
    ignored: list[str] = field(default_factory=list)
    effects: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    limit: float = _SHORTEST_LIMIT

    @property
    def ops(self) -> list[Op]:
        """The ops of the golden run."""
        return self.trace.ops

    def is_shown(self, path: str) -> bool:
        """Tell whether readers may see what a run puts at a path, under its own name or through a link."""
        return self.subject.is_output(path) or path in self.uncompared or self._is_led_to(path)

    def _is_led_to(self, path: str) -> bool:
        return any(path == one or path.startswith(f"{one}/") for one in self.led_to)

    def is_watched(self, path: str) -> bool:
        """Tell whether the golden runs look which contents of a path are whole."""
        return self.subject.is_output(path) or self.subject.is_named(path) or self._is_led_to(path)

    def fold(self, path: str) -> str:
        """Return the path with names that differ from run to run replaced by ``*``."""
        done = ""
        parts = path.split("/")
        for depth, name in enumerate(parts, start=1):
            folded = name
            if "/".join(parts[:depth]) not in self.stable:
                for prefix, suffix in self.shapes.get((done, len(name)), ()):
                    if name.startswith(prefix) and name.endswith(suffix):
                        folded = f"{prefix}*{suffix}"
            done = f"{done}/{folded}" if done else folded
        return done


def record(runner: Runner, subject: Subject, place: Path, *, by_exec: bool = False) -> Record:
    """Run a subject without any fault, and keep what later trials are compared with.

    The first run is an exec. Further ones are forked from a zygote, unless *by_exec* forbids it; where
    one comes out differently an exec has the last word, and trials are execs as well.
    """
    made = Record(subject, place)
    runner.fell_back = ""
    try:
        runner.cool()
        read = runner.prepare(subject, place / "template")
        _record(runner, made, by_exec=by_exec)
        if made.reads:  # otherwise it is not known what the run itself read
            made.reads += read
    except BoxError as error:
        made.reason = str(error)
        runner.empty()
    except OSError as error:
        made.reason = f"cannot run {subject.argv[0]!r}: {error.strerror or error}"
    if runner.fell_back:
        made.warnings.append(f"no zygote in a golden run, exec instead: {runner.fell_back}")
    return made


def _record(runner: Runner, made: Record, *, by_exec: bool) -> None:
    subject = made.subject
    made.initial = runner.look(subject)
    first, versions = _run(runner, made, made.trace.ops)
    if made.reason:
        return
    made.seconds, made.least_ops = first.seconds, first.ops
    made.trace.outside, made.trace.blind = first.outside, first.blind
    made.reads, made.is_alone = first.reads, first.is_alone
    subject = _without_made_anew(runner, made)
    made.final = runner.look(subject)
    made.led_to = links.targets(made.initial, made.ops, os.fsdecode(runner.box_bytes))
    everything = _ignored_files(runner, made)
    made.ignored, made.effects = list(everything), first.effects
    made.acks = first.acks
    runner.keep(made.place / "golden")
    made.reason = _beside_the_box(made) or _without_effect(made)
    if made.reason:
        return
    if not subject.check_takes_acks:
        broken = lost_acks(subject, made.final, runner.box, made.acks)
        made.reason = (
            f"with no fault: {broken[0].message}; a check that takes them can judge" if broken else ""
        )
    if made.reason:
        return
    # Asked for late: it needs the record's own type.
    from .warm import warm_up  # noqa: PLC0415

    if not by_exec:
        warm_up(runner, made)
    _again_on_its_result(runner, made)
    if made.reason:
        return
    second = _second(runner, made, first)
    made.reason = second.failure
    if made.reason:
        return
    made.seconds, made.least_ops = max(made.seconds, second.ran.seconds), min(made.least_ops, second.ran.ops)
    made.limit = subject.timeout or max(_SHORTEST_LIMIT, _SLACK * made.seconds)
    _compare_runs(runner, made)
    _learn_versions(made, versions, second.versions)
    made.uncompared = _uncompared(made, everything, _ignored_files(runner, made), (versions, second.versions))
    _warn(made, first)
    made.has_order = not second.order
    if made.has_order:
        _learn_stacks(runner, made)


def _without_made_anew(runner: Runner, made: Record) -> Subject:
    """Ignore from here on what a database stores to through memory and makes anew; return what is left."""
    paths = made_anew(runner.box, (path for path, _ in made.trace.blind))
    made.trace.blind = [
        (path, f"not judged: {path} is {paths[path]}, which it makes anew" if path in paths else why)
        for path, why in made.trace.blind
    ]
    made.subject = replace(made.subject, ignore=(*made.subject.ignore, *ignored(paths)))
    return made.subject


def _learn_stacks(runner: Runner, made: Record) -> None:
    """Find out where in the program its ops come from, if it makes so many that it matters."""
    from .stacks import LEAST_OPS, stacks_of  # noqa: PLC0415 - as above

    argv = made.subject.command(made.subject.argv, runner.box)[0]
    if parse(argv) is not None and not made.reason and len(made.ops) >= LEAST_OPS:
        stacks, ops = stacks_of(runner, made)
        made.stacks = stacks if _has_order(made, ops) else []


def _run(runner: Runner, made: Record, ops: list[Op]) -> tuple[Ran, Versions]:
    """Run with no fault; a failure of any kind becomes the record's reason."""
    subject = made.subject
    versions = Versions(Path(os.path.realpath(runner.box)), made.is_watched)

    is_first = ops is made.trace.ops  # which tells what it reads, and more that is not asked again

    def visit(op: Op, _number: int) -> Answer:
        ops.append(op)
        versions.before(op)
        if is_first:
            company = has_company(op.tid, runner.spared)
            made.signals.append(~0 if company else handled_signals(op.tid))
        return GO

    limit = subject.timeout or _PATIENCE
    try:
        ran = runner.run(
            subject, timeout=limit, visit=None if made.refused else visit, reads=is_first and not made.refused
        )
    except InterceptionRefusedError as error:
        made.refused = f"calls cannot be intercepted here: {error.strerror or error}"
        ran = runner.run(subject, timeout=limit)
    if ran.failure():
        runner.expect_room(made.final or made.initial, ran.told)
        made.reason = f"the pipeline fails with no fault: it {ran.failure()}"
        made.reason += f"\n{ran.told}" if ran.told else ""
        if ran.crossing:
            made.reason += "\n" + _of_crossing(ran.crossing)
    return ran, versions


def _of_crossing(call: str) -> str:
    """Say what a program may have failed of that moved a file to another file system."""
    return (
        f"before that, {call} failed with EXDEV: the temporary directory is another file system than the "
        "outputs here, as on most machines; write temporary files beside the destination, or say that "
        'both are on one file system: --tmp same (in a scenario: tmp="same")'
    )


def _again_on_its_result(runner: Runner, made: Record) -> None:
    """A second run with no crash must change no output."""
    subject = made.subject
    finding = _changes(runner, made)
    if finding is not None and runner.is_warm(subject):
        why = finding.message
        runner.cool()
        runner.fill(made.place / "golden")
        finding = _changes(runner, made)
        if finding is None:
            _switch_off(made, why)
        elif made.preload is not None:
            runner.warm(subject, made.preload)
    if finding is not None:
        made.findings.append(finding)
    if subject.check:
        told = runner.check(subject, made.acks)
        made.value = told.value
        if told.failed:
            made.reason = f"the check fails with no fault: it {told.failure}"
            return
        # Asked for late: it needs the record's own type.
        from .warm import warm_up_check  # noqa: PLC0415

        # A run that tells what it reads is intercepted, which a program can see: its value is not used.
        read = runner.check(subject, made.acks, reads=True).reads
        made.reads += read if made.reads else []
        if made.preload is not None:
            warm_up_check(runner, made, read)


def _first_difference(made: Record, after: Tree) -> str | None:
    """Return the first output in which a tree differs from the golden run's, also one behind a link."""
    is_output = made.subject.is_output
    found = first_difference(made.final, after, is_output)
    if found is None:
        golden, here = links.seen(made.final, is_output), links.seen(after, is_output)
        found = first_difference(golden, here, lambda _path: True)
    return found


def _ignored_files(runner: Runner, made: Record) -> Tree:
    """Return the files that are ignored, as they stand in the box."""
    if not made.subject.ignore:
        return {}
    several = runner.look(made.subject, whole=True)
    is_ignored = made.subject.is_ignored
    return {path: entry for path, entry in several.items() if entry.kind == "file" and is_ignored(path)}


def _uncompared(made: Record, first: Tree, second: Tree, versions: tuple[Versions, Versions]) -> Tree:
    """Return the ignored files that outputs name and that differ from run to run, but for growing logs."""
    logs = {op.path for op in made.ops if op.kind == "write"} - {
        op.path for op in made.ops if op.kind == "write" and op.offset >= 0
    }
    known = [one.known for one in versions]
    return {
        path: first[path]
        for path in filter(made.subject.is_named, (first.keys() & second.keys()) - logs)
        if first[path] != second[path] or known[0].get(path) != known[1].get(path)
    }


def _changes(runner: Runner, made: Record) -> Finding | None:
    """Run on the golden run's own result; return what that changes."""
    ran, _ = _run(runner, made, [])
    if made.reason:
        sentence = "the pipeline, run again on its own result with no crash,"
        hindered = "" if made.refused else ran.hindered()
        if hindered:
            made.reason = f"{sentence} {hindered}"
            return None
        made.reason = ""
        return Finding("not-idempotent", "", f"{sentence} {ran.failure()}", ran.told)
    after = runner.look(made.subject)
    path = _first_difference(made, after)
    if path is None:
        return None
    runner.expect_room(made.final)
    detail = describe_difference(path, made.final, after, made.place / "golden", runner.box)
    return Finding("not-idempotent", path, f"a second run, with no crash, changes {path}", detail)


@dataclass(slots=True)
class _Second:
    """The second run from scratch.

    Attributes:
        failure: how it failed; "" if it did not.
        outcome: how what it leaves or acknowledges differs from the first run's.
        order: how its ops differ from the first run's.
    """

    ran: Ran
    versions: Versions
    failure: str = ""
    outcome: str = ""
    order: str = ""


def _second(runner: Runner, made: Record, first: Ran) -> _Second:
    """Run from scratch once more; a zygote that comes to something else than exec is no longer used."""
    second = _from_scratch(runner, made, first)
    if runner.is_warm(made.subject) and (second.outcome or second.order):
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


def _from_scratch(runner: Runner, made: Record, first: Ran) -> _Second:
    runner.fill(made.place / "template")
    ops: list[Op] = []
    ran, versions = _run(runner, made, ops)
    second = _Second(ran, versions, made.reason, made.reason)
    made.reason = ""
    if second.failure:
        return second
    after = runner.look(made.subject)
    path = _first_difference(made, after)
    if path is not None:
        detail = describe_difference(path, made.final, after, made.place / "golden", runner.box)
        second.outcome = f"{path} comes out differently\n{detail}"
    elif ran.acks != first.acks:
        second.outcome = "the run acknowledges something else"
    _learn_names(made, ops)
    if not _has_order(made, ops):
        second.order = f"the run makes {len(ops)} ops of another kind or order"
    return second


def _has_order(made: Record, ops: list[Op]) -> bool:
    """Tell whether another golden run made the same ops."""
    return shape(made, ops) == shape(made, made.ops)


def shape(made: Record, ops: Iterable[Op]) -> list[tuple[str, str, str, int]]:
    """Return what two runs of a subject have in common, op by op, if they do the same."""
    ignored = made.subject.is_ignored  # such a file's length may be as random as its content
    return [
        (op.kind, made.fold(op.path), made.fold(op.target), 0 if ignored(op.path) else op.length)
        for op in ops
    ]


def _compare_runs(runner: Runner, made: Record) -> None:
    """Two golden runs must leave the same outputs, or nothing can be compared with them."""
    subject = made.subject
    again = runner.look(subject)
    path = _first_difference(made, again)
    if path is not None:
        runner.expect_room(made.final)
        detail = describe_difference(path, made.final, again, made.place / "golden", runner.box)
        made.reason = f"nondeterministic: two runs with no fault differ in {path}\n{detail}"
        return
    if subject.check and not made.findings:
        told = runner.check(subject, made.acks)
        if told.failed or told.value != made.value:
            made.reason = (
                f"nondeterministic: the check gave {made.value} and then {told.failure or told.value}"
            )
    # What only one run leaves (a random name) is no more litter than what both leave.
    made.final = {**again, **made.final}


def _learn_names(made: Record, ops: Iterable[Op]) -> None:
    """Find the names that differ from run to run, so that states that differ in them alone are one."""
    made.shapes.clear()
    first, second = ({name for op in several for name in _names(op)} for several in (made.ops, ops))
    made.stable = (first & second) | set(made.initial)
    for path in sorted(first - second, key=lambda path: (path.count("/"), path)):
        parent, _, name = path.rpartition("/")
        others = [
            other.rpartition("/")[2]
            for other in second - first
            if made.fold(other.rpartition("/")[0]) == made.fold(parent) and len(other) == len(path)
        ]
        ends = [common_ends(name, other) for other in sorted(others)]
        if ends:  # the other run's name that is most like this one
            best = max(ends, key=lambda pair: len(pair[0]) + len(pair[1]))
            made.shapes.setdefault((made.fold(parent), len(name)), set()).add(best)


def _names(op: Op) -> list[str]:
    return [op.path, op.target] if op.kind in ("rename", "link") else [op.path]


def _learn_versions(made: Record, first: Versions, second: Versions) -> None:
    # What is written beside an output, and then renamed to it, is never one itself.
    outputs = made.initial.keys() | made.final.keys() | first.installed | second.installed
    for path in first.known.keys() | second.known.keys():
        one, other = first.known.get(path, set()), second.known.get(path, set())
        if made.subject.is_output(path):
            if path not in outputs:
                continue
            if one != other:
                made.varying.add(path)
        elif not made.is_shown(path):  # else it is seen through a link
            continue
        made.versions[path] = one | other
    for tree in (made.initial, made.final):
        for path, entry in tree.items():
            if made.is_shown(path) and entry.kind == "file":
                made.versions.setdefault(path, set()).add(entry.digest)


def _warn(made: Record, first: Ran) -> None:
    made.warnings += [
        f"writes outside its box, where no crash state can hold it: {path}"
        for path in made.trace.outside
        if not is_of_interpreter(path)
    ]
    for path, reason in made.trace.blind:
        output = next((name for name in _names_of(path, made.ops) if made.is_shown(name)), None)
        if path and output is None:
            made.warnings.append(reason)
        elif not made.reason:
            made.reason = reason if output in (None, path) else f"{reason}, and it becomes {output}"
    if first.lingering:
        made.warnings.append("it leaves processes running when it ends; they were killed")


def _names_of(path: str, ops: Sequence[Op]) -> list[str]:
    """Return the names that a file of the box has at any time: it, or what it is in, is renamed or linked."""
    names = {path: None}
    for op in ops:
        ways = [(op.path, op.target)] if op.kind in ("rename", "link") and op.target else []
        if op.kind == "rename" and op.flags & abi.RENAME_EXCHANGE:
            ways.append((op.target, op.path))
        for old, new in ways:
            below = [name for name in names if name == old or name.startswith(f"{old}/")]
            names |= dict.fromkeys(new + name[len(old) :] for name in below)
    return list(names)


def _beside_the_box(made: Record) -> str:
    """Say what the run writes where the user keeps files of their own; "" if it writes nothing there."""
    subject = made.subject
    kept = [os.path.realpath(place) for place in (subject.source, subject.standing) if place]
    for path in made.trace.outside:
        for place in kept:
            if place != "/" and f"{path}/".startswith(f"{place}/"):
                return (
                    f"it writes {os.path.relpath(path, place)} into {place}, a directory of yours, where no "
                    "crash state can hold it: run a copy (--input DIR copies one into each box, and files "
                    "below it in the command are those of the copy), or name its files by {box}"
                )
    return ""


def _without_effect(made: Record) -> str:
    """Tell what of the declaration is about nothing in the golden run, and so judges nothing; "" if none."""
    subject = made.subject
    if subject.judge_outputs:
        if not _is_judged(made, subject.is_output):
            return _no_outputs(made)
        if not _changes_output(made):
            return _unchanged(made)
        unmet = [] if made.refused else [one for one in subject.outputs if not _is_met(made, one)]
        if unmet:
            return f"outputs {', '.join(unmet)}: nothing that the golden run made or left matches"
    if subject.acks not in ("", ACK_PATTERN) and not made.acks:  # that of ack() stands in each body's subject
        return f"no line of the golden run's standard output matches acks={subject.acks!r}"
    return ""


def _changes_output(made: Record) -> bool:
    """Tell whether the run did anything to an output, or something else than outputs is judged as well."""
    subject = made.subject
    if subject.check or subject.acks not in ("", ACK_PATTERN) or made.acks:
        return True
    if first_difference(made.initial, made.final, subject.is_output) is not None:
        return True
    return any(made.is_shown(path) for op in made.ops for path in _names(op) if path)


def _unchanged(made: Record) -> str:
    changed = ", ".join(dict.fromkeys(op.path for op in made.ops)) or "no file"
    return f"it makes and changes no output, so no crash could show: it changes {changed}"


def _is_judged(made: Record, is_output: Callable[[str], bool]) -> bool:
    """Tell whether the golden run left an output: a file, or a directory with no file that is none."""
    others = {path for path, entry in made.final.items() if entry.kind != "dir" and not is_output(path)}
    return bool(links.through(made.final, is_output)) or any(
        entry.kind != "dir" or not any(other.startswith(f"{path}/") for other in others)
        for path, entry in made.final.items()
        if is_output(path)
    )


def _is_met(made: Record, pattern: str) -> bool:
    """Tell whether one of the patterns of outputs matches what is judged, or what was there for a time."""
    matches = matcher([pattern])
    if _is_judged(made, lambda path: matches(path) and made.subject.is_output(path)):
        return True
    passing = {name for op in made.ops if op.kind not in ("mkdir", "rmdir") for name in (op.path, op.target)}
    before = {path for path, entry in made.initial.items() if entry.kind != "dir"}
    return any(map(matches, passing | before))


def _no_outputs(made: Record) -> str:
    patterns = ", ".join(made.subject.outputs) or "**"
    files = [path for path, entry in made.final.items() if _is_listed(path, entry)]
    left = ", ".join(sorted(files)[:10]) or "no files at all"
    outside = "; it wrote outside its box: " + ", ".join(made.trace.outside[:5]) if made.trace.outside else ""
    return f"outputs {patterns} match nothing that the golden run left; it left {left}{outside}"


def _is_listed(path: str, entry: Entry) -> bool:
    return entry.kind == "file" and not path.startswith((".tmp/", ".home/"))
