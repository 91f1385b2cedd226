"""Repairs of a trace: what the ops would be, had the program been written with care.

Each is one habit of careful programs (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014;
fsync(2), rename(2)): fsync the file before its rename, fsync the directory after it, write beside the
destination and rename, make the marker after the output. A repair is applied at sites: numbers of ops.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from outlive_harness.trace import INSTALLS, WRITES, Op

#: What the temporary file of a repaired trace is named by: nothing a pipeline would use.
_BESIDE = ".outlive-repaired"
#: Bytes of a file that is written another way: its ops then carry their data with them.
_MOST = 16 << 20


@dataclass(frozen=True, slots=True)
class Numbered:
    """An op of a repaired trace, and the number of the op of the run that it stands beside."""

    number: int
    op: Op


Trace = list[Numbered]


@dataclass(frozen=True, slots=True)
class Repair:
    """A change to a trace.

    Attributes:
        name: which habit.
        say: tells what to do at a site, to be followed by "at" and its place.
        sites: numbers of the ops where it is applied.
        apply: gives the ops as they would be, with the repair at some of the sites.
    """

    name: str
    say: Callable[[int], str]
    sites: tuple[int, ...]
    apply: Callable[[Trace, frozenset[int]], Trace]


def numbered(ops: Iterable[Op]) -> Trace:
    """Return a run's ops as a trace that can be repaired."""
    return [Numbered(number, op) for number, op in enumerate(ops, start=1)]


def repairs(ops: Sequence[Op], is_output: Callable[[str], bool]) -> list[Repair]:
    """Return what could be repaired in a run, each kind at all of its sites.

    Args:
        ops: the run.
        is_output: tells outputs by their paths.
    """
    found = [_file_first(ops), _directory_after(ops), _beside(ops, is_output), *_marker_after(ops, is_output)]
    return [one for one in found if one is not None]


# -- fsync of the file before it is renamed -----------------------------------------------------------


def _file_first(ops: Sequence[Op]) -> Repair | None:  # noqa: C901 - a case a kind of op
    """What is renamed, or left to be read, has reached the disk before anything later does."""
    dirty: dict[str, int] = {}
    renamed: list[int] = []
    for number, op in enumerate(ops, start=1):
        if _changes(op):
            dirty[op.path] = number
        elif op.kind in ("sync", "syncfs"):
            dirty.clear()
        elif op.kind in ("fsync", "fdatasync", "unlink"):
            dirty.pop(op.path, None)
        elif op.kind in INSTALLS and op.path in dirty:
            del dirty[op.path]
            renamed.append(number)
    left = sorted(dirty.values())
    if not renamed and not left:
        return None

    def apply(trace: Trace, chosen: frozenset[int]) -> Trace:
        made: Trace = []
        for one, is_last in _with_last(trace):
            if one.number in chosen and one.number in renamed and one.op.kind in INSTALLS:
                made.append(Numbered(one.number, _fsync(one.op.path, one.op.tid)))
            made.append(one)
            if is_last and one.number in chosen and one.number in left:
                made.append(Numbered(one.number, _fsync(one.op.path, one.op.tid)))
        return made

    def say(site: int) -> str:
        return f"fsync the file {'before the rename' if site in renamed else 'after its last write'}"

    return Repair("file", say, (*renamed, *left), apply)


def _changes(op: Op) -> bool:
    """Tell whether an op changes what is in a file."""
    return op.kind in WRITES or op.kind == "truncate" or (op.kind == "open" and bool(op.flags & os.O_TRUNC))


# -- fsync of the directory after a name in it changed ------------------------------------------------


@dataclass(slots=True)
class _Names:
    """Names that no fsync of their directory has followed yet.

    Attributes:
        pending: the op after which there could be one, by directory and name.
    """

    pending: dict[tuple[str, str], int]

    def note(self, number: int, op: Op) -> None:
        """Take the next op."""
        if op.kind in ("sync", "syncfs"):
            self.pending.clear()
        elif op.kind in ("fsync", "fdatasync"):
            for key in [key for key in self.pending if key[0] == op.path]:
                del self.pending[key]
        elif op.kind in INSTALLS:
            self.pending.pop((_above(op.path), op.path), None)  # a temporary name needs none of its own
            self.pending[_above(op.target), op.target] = number
        elif op.kind in WRITES:  # a file's name is told to the disk once it is written
            if (_above(op.path), op.path) in self.pending:
                self.pending[_above(op.path), op.path] = number
        elif op.kind in _NAMES or (op.kind == "open" and op.flags & os.O_CREAT):
            self.pending[_above(op.path), op.path] = number


_NAMES = frozenset({"mkdir", "symlink", "mknod", "unlink", "rmdir"})


def _directory_after(ops: Sequence[Op]) -> Repair | None:
    """A name has reached the disk before anything later does."""
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
        return f"fsync the directory after the {'last write' if kind in WRITES else kind}"

    return Repair("directory", say, tuple(sorted(sites)), apply)


# -- a temporary file and a rename in place of a write in place ---------------------------------------


@dataclass(slots=True)
class _Session:
    """One opening of an output for writing, up to the last op on it."""

    path: str
    first: int
    last: int


def _beside(ops: Sequence[Op], is_output: Callable[[str], bool]) -> Repair | None:
    """An output is written beside its place, made durable and renamed, its directory synced.

    Not so a lock: who holds it must keep the file that others open. It is known by its name, or by being
    emptied at the end, as that of outlive.run_lock is; flock(2) itself is no op.
    """
    sessions: list[_Session] = []
    opened: dict[str, _Session] = {}
    for number, op in enumerate(ops, start=1):
        makes = op.flags & os.O_TRUNC or (op.flags & os.O_CREAT and op.path not in opened)
        if op.kind == "open" and is_output(op.path) and makes and not op.flags & os.O_APPEND:
            opened[op.path] = _Session(op.path, number, number)
            sessions.append(opened[op.path])
        elif op.path in opened and op.kind in (*WRITES, "truncate", "chmod", "chown", "fsync", "fdatasync"):
            opened[op.path].last = number
        elif op.kind in ("rename", "link", "unlink"):
            opened.pop(op.path, None)
            opened.pop(op.target, None)
    emptied = {op.path: op.kind == "truncate" and not op.length for op in ops if _changes(op)}
    sessions = [one for one in sessions if not (emptied.get(one.path) or _is_lock(one.path))]
    # A copy asks for more than there is, so what counts is what was recorded.
    written = [op for op in ops if op.kind in WRITES and op.path in {one.path for one in sessions}]
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
            continue  # cp(1) tries what may not work
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
    """What says that an output is done is made after it: for each file that is made before an output."""
    touched: dict[str, list[int]] = {}
    for number, op in enumerate(ops, start=1):
        for path in {op.path, op.target} if op.kind in INSTALLS else {op.path}:
            touched.setdefault(path, []).append(number)
    outputs = {path: numbers[-1] for path, numbers in touched.items() if is_output(path)}
    found = []
    for path, numbers in touched.items():
        made = [
            n for n in numbers if ops[n - 1].kind in ("open", *WRITES, *INSTALLS, "mkdir", "symlink", "mknod")
        ]
        later = [last for output, last in outputs.items() if output != path and last > numbers[-1]]
        if path and made and later and not any(one.startswith(path + "/") for one in touched):
            last = ops[numbers[-1] - 1]  # what is made beside it and renamed goes by its final name
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
        made = output.target if output.kind in INSTALLS else output.path
        return f"make {path} after {made}, not before it,"

    return Repair(f"marker {path}", say, (numbers[0],), apply)


def _with_last(trace: Trace) -> Iterator[tuple[Numbered, bool]]:
    """Yield each op, and whether it is the last that stands for an op of the run."""
    for place, one in enumerate(trace):
        yield one, place + 1 == len(trace) or trace[place + 1].number != one.number


def _fsync(path: str, tid: int) -> Op:
    return Op("fsync", "fsync", path, tid=tid)


def _above(path: str) -> str:
    return path.rpartition("/")[0]
