"""Repairs of a trace: the ops of the same program, had it been written with care.

Each repair is one habit of careful programs (Pillai et al., "All File Systems Are Not Created Equal", OSDI
2014; fsync(2), rename(2)): fsync the file before its rename, fsync the directory after it, write beside the
destination and rename, make the marker after the output. It is applied at sites, which are numbers of ops.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from outlive_harness.results.op_kinds import KINDS
from outlive_harness.results.ops import Op

#: The suffix of a temporary file in a repaired trace, which no pipeline uses.
_BESIDE = ".outlive-repaired"
#: The most bytes of files that a repair writes beside their destinations, as their data must be in memory.
_MOST = 16 << 20
#: Kinds of ops on an open file, besides writes.
_ON_FILE = frozenset({"truncate", "chmod", "chown", "fsync", "fdatasync"})


@dataclass(frozen=True, slots=True)
class Numbered:
    """An op of a repaired trace, and the number of the original op that it comes from or follows."""

    number: int
    op: Op


Trace = list[Numbered]


@dataclass(frozen=True, slots=True)
class Repair:
    """A change to a trace.

    Attributes:
        habit: the habit: ``file``, ``directory``, ``beside`` or ``marker``.
        say: returns what to do at a site, to be followed by "at" and its place.
        sites: the numbers of the ops to which it can be applied.
        apply: returns the ops with the repair applied at some of the sites.
        about: the path of a marker; "" for other habits.
    """

    habit: str
    say: Callable[[int], str]
    sites: tuple[int, ...]
    apply: Callable[[Trace, frozenset[int]], Trace]
    about: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What distinguishes it from the other repairs of a run."""
        return self.habit, self.about


def numbered(ops: Iterable[Op]) -> Trace:
    """Return a run's ops as a trace that can be repaired."""
    return [Numbered(number, op) for number, op in enumerate(ops, start=1)]


def repairs(ops: Sequence[Op], is_output: Callable[[str], bool]) -> list[Repair]:
    """Return the possible repairs of a run, each with all of its sites.

    Args:
        ops: the run.
        is_output: returns whether a path is an output.
    """
    found = [_file_first(ops), _directory_after(ops), _beside(ops, is_output), *_marker_after(ops, is_output)]
    return [one for one in found if one is not None]


# -- fsync of the file before it is renamed -----------------------------------------------------------


def _file_first(ops: Sequence[Op]) -> Repair | None:  # noqa: C901 - a case a kind of op
    """Make a renamed file, or one that is left, reach the disk before anything later does."""
    dirty: dict[str, int] = {}
    renamed: list[int] = []
    for number, op in enumerate(ops, start=1):
        if _changes(op):
            dirty[op.path] = number
        elif op.traits.syncs_all:
            dirty.clear()
        elif op.kind in ("fsync", "fdatasync", "unlink"):
            dirty.pop(op.path, None)
        elif op.traits.installs and op.path in dirty:
            del dirty[op.path]
            renamed.append(number)
    left = sorted(dirty.values())
    if not renamed and not left:
        return None

    def apply(trace: Trace, chosen: frozenset[int]) -> Trace:
        made: Trace = []
        for one, is_last in _with_last(trace):
            if one.number in chosen and one.number in renamed and one.op.traits.installs:
                made.append(Numbered(one.number, _fsync(one.op.path, one.op.tid)))
            made.append(one)
            if is_last and one.number in chosen and one.number in left:
                made.append(Numbered(one.number, _fsync(one.op.path, one.op.tid)))
        return made

    def say(site: int) -> str:
        return f"fsync the file {'before the rename' if site in renamed else 'after its last write'}"

    return Repair("file", say, (*renamed, *left), apply)


def _changes(op: Op) -> bool:
    """Return whether an op changes the content of a file."""
    return op.changes_content or op.empties


# -- fsync of the directory after a name in it changed ------------------------------------------------


@dataclass(slots=True)
class _Names:
    """Changed names whose directory was not synced since.

    Attributes:
        pending: the op after which it could be synced, by directory and name.
    """

    pending: dict[tuple[str, str], int]

    def note(self, number: int, op: Op) -> None:
        """Take the next op."""
        if op.traits.syncs_all:
            self.pending.clear()
        elif op.kind in ("fsync", "fdatasync"):
            for key in [key for key in self.pending if key[0] == op.path]:
                del self.pending[key]
        elif op.traits.installs:
            self.pending.pop((_above(op.path), op.path), None)  # a temporary name needs none of its own
            self.pending[_above(op.target), op.target] = number
        elif op.traits.writes:  # the name is synced after the last write to the file
            if (_above(op.path), op.path) in self.pending:
                self.pending[_above(op.path), op.path] = number
        elif op.creates or op.kind in _NAMES:
            self.pending[_above(op.path), op.path] = number


_NAMES = frozenset({"mkdir", "symlink", "mknod", "unlink", "rmdir"})


def _directory_after(ops: Sequence[Op]) -> Repair | None:
    """Make a name reach the disk before anything later does."""
    names = _Names({})
    for number, op in enumerate(ops, start=1):
        names.note(number, op)
    sites: dict[int, set[str]] = {}
    for (directory, _), number in names.pending.items():
        sites.setdefault(number, set()).add(directory)
    if not sites:
        return None

    def apply(trace: Trace, chosen: frozenset[int]) -> Trace:
        made: Trace = []
        for one, is_last in _with_last(trace):
            made.append(one)
            if is_last and one.number in chosen:
                directories = sorted(sites.get(one.number, ()))
                made += [Numbered(one.number, _fsync(name, one.op.tid)) for name in directories]
        return made

    def say(site: int) -> str:
        kind = ops[site - 1].kind
        return f"fsync the directory after the {'last write' if KINDS[kind].writes else kind}"

    return Repair("directory", say, tuple(sorted(sites)), apply)


# -- a temporary file and a rename in place of a write in place ---------------------------------------


@dataclass(slots=True)
class _Session:
    """One opening of an output for writing, up to the last op on it."""

    path: str
    first: int
    last: int


def _beside(ops: Sequence[Op], is_output: Callable[[str], bool]) -> Repair | None:
    """Write an output beside its destination, make it durable, rename it, and sync its directory.

    A lock file is left out, as its holder must keep the file that others open. It is recognised by its name,
    or as it is empty at the end, like that of outlive.run_lock; flock(2) is not an op.
    """
    sessions: list[_Session] = []
    opened: dict[str, _Session] = {}
    for number, op in enumerate(ops, start=1):
        makes = op.flags & os.O_TRUNC or (op.flags & os.O_CREAT and op.path not in opened)
        if op.kind == "open" and is_output(op.path) and makes and not op.flags & os.O_APPEND:
            opened[op.path] = _Session(op.path, number, number)
            sessions.append(opened[op.path])
        elif op.path in opened and (op.traits.writes or op.kind in _ON_FILE):
            opened[op.path].last = number
        elif op.traits.installs or op.traits.removes:
            opened.pop(op.path, None)
            opened.pop(op.target, None)
    emptied = {op.path: op.kind == "truncate" and not op.length for op in ops if _changes(op)}
    sessions = [one for one in sessions if not (emptied.get(one.path) or _is_lock(one.path))]
    # A copy may ask for more bytes than its source has, so the recorded data count.
    written = [op for op in ops if op.traits.writes and op.path in {one.path for one in sessions}]
    size = sum(op.length if op.content is None else len(op.content) for op in written)
    if not sessions or size > _MOST:
        return None

    def apply(trace: Trace, chosen: frozenset[int]) -> Trace:
        for session in sessions:
            if session.first in chosen:
                trace = _written_beside(trace, session)
        return trace

    def say(site: int) -> str:
        return f"write {ops[site - 1].path} to a temporary file beside it, fsync, and rename it into place"

    return Repair("beside", say, tuple(one.first for one in sessions), apply)


def _is_lock(path: str) -> bool:
    name = path.rpartition("/")[2].lower()
    return name in ("lock", "pid") or name.endswith((".lock", ".lck", ".pid"))


def _written_beside(trace: Trace, session: _Session) -> Trace:
    path, beside = session.path, session.path + _BESIDE
    made: Trace = []
    for one, is_last in _with_last(trace):
        op = one.op
        if op.detail is not None and op.detail.fails:
            continue  # cp(1) makes calls that fail
        if session.first <= one.number <= session.last and op.path == path:
            content = op.content
            data = content if content is None or isinstance(content, bytes) else content.read()
            made.append(Numbered(one.number, replace(op, path=beside, data=data, detail=None)))
        else:
            made.append(one)
        if is_last and one.number == session.last:
            steps = (
                _fsync(beside, op.tid),
                Op("rename", "rename", beside, path, tid=op.tid),
                _fsync(_above(path), op.tid),
            )
            made += [Numbered(one.number, step) for step in steps]
    return made


# -- the marker after the output ----------------------------------------------------------------------


def _marker_after(ops: Sequence[Op], is_output: Callable[[str], bool]) -> list[Repair]:
    """Make a file after an output, as it may be the output's marker: for each file made before an output."""
    touched: dict[str, list[int]] = {}
    for number, op in enumerate(ops, start=1):
        for path in {*op.paths}:
            touched.setdefault(path, []).append(number)
    outputs = {path: numbers[-1] for path, numbers in touched.items() if is_output(path)}
    found = []
    for path, numbers in touched.items():
        made = [n for n in numbers if ops[n - 1].traits.installs or ops[n - 1].traits.makes]
        later = [last for output, last in outputs.items() if output != path and last > numbers[-1]]
        if path and made and later and not any(one.startswith(path + "/") for one in touched):
            last = ops[numbers[-1] - 1]  # a file that is renamed at last goes by its final name
            name = last.target if last.kind == "rename" and last.path == path else path
            found.append(_moved(name, numbers, min(later), ops[min(later) - 1]))
    return found


def _moved(path: str, numbers: Sequence[int], behind: int, output: Op) -> Repair:
    moving = frozenset(numbers)

    def apply(trace: Trace, _chosen: frozenset[int]) -> Trace:
        taken = [one for one in trace if one.number in moving]
        made: Trace = []
        for one, is_last in _with_last(trace):
            if one.number not in moving:
                made.append(one)
            if is_last and one.number == behind:
                made += [Numbered(behind, step.op) for step in taken]
        return made

    def say(_site: int) -> str:
        made = output.target if output.traits.installs else output.path
        return f"make {path} after {made}, not before it,"

    return Repair("marker", say, (numbers[0],), apply, path)


def _with_last(trace: Trace) -> Iterator[tuple[Numbered, bool]]:
    """Yield each op, and whether it is the last one that comes from its original op."""
    for index, one in enumerate(trace):
        yield one, index + 1 == len(trace) or trace[index + 1].number != one.number


def _fsync(path: str, tid: int) -> Op:
    return Op("fsync", "fsync", path, tid=tid)


def _above(path: str) -> str:
    return path.rpartition("/")[0]
