"""The versions of files that belong together, learned from the recorded ops of a run with no fault.

A version is what was there when the last file of the set was put in place. Which one is the last is seen from
the run's end; if the run makes the set again and again in another order each time, a version ends before a
file of it is made again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from outlive_harness.disk.content import digest, read
from outlive_harness.disk.model import Disk, UnmodelledError
from outlive_harness.disk.model.files import BLOCK_OF, SIZE, Node, tree_of
from outlive_harness.disk.tree import Tree
from outlive_harness.judge.sets import FileSet
from outlive_harness.results.globs import matcher
from outlive_harness.results.ops import Op
from outlive_harness.results.reader_names import DATABASE
from outlive_harness.world.reading import Valued

from .record import Record

#: Returns the digest of an output's value, given its path and its content.
ValueOf = Callable[[str, bytes], str]
#: How many names of files are looked at, in all moments together: some seconds.
_MOST = 1_000_000


class Moment(NamedTuple):
    """A moment at which files of a set were put in place, or removed.

    Attributes:
        touched: the paths of these files.
        after: the files of the set after it, by path; one that is not whole has the digest "".
    """

    touched: frozenset[str]
    after: Mapping[str, str]


def learn_generations(
    record: Record, ops: Sequence[Op], box: bytes, why: str, value_of: ValueOf | None = None
) -> None:
    """Note the versions of each declared set.

    Args:
        record: the golden run, which takes them.
        ops: the recorded ops of a run with no fault, with the data that they wrote.
        box: the path of that run's box, which digests replace.
        why: why the ops cannot be used; "" if they can.
        value_of: returns the digest of the value of an output with a reader, given its path and its content;
            "" if the reader does not accept it.
    """
    known = _Known(record)
    sets = [FileSet(text) for text in record.spec.together]
    moments: dict[str, list[Moment]] = {one.text: [] for one in sets}
    record.generations_unknown = (
        why or _read(record, sets) or _replay(known, ops, _Replay(record, box, value_of), moments)
    )
    for one in sets:
        first, last = (known.digests(one, tree) for tree in (record.initial, record.final))
        middle = [] if record.generations_unknown else list(_middle(one, moments[one.text]))
        several = [one.version(digests, record.fold) for digests in (first, *middle, last)]
        record.generations[one.text] = [
            version for at, version in enumerate(several) if not at or version not in several[1:at]
        ]


def _read(record: Record, sets: Sequence[FileSet]) -> str:
    """Return why only the first and last versions are known; "" if all can be.

    The model of the disk gives the content of single files: not that of a directory that is one output, nor
    that of a database with its journal.
    """
    for one in sets:
        paths = one.found(record.final, record.is_in_sets).values()
        for path in paths:
            entry = record.final[path]
            if isinstance(entry, Valued) and (entry.kind == "dir" or entry.reader == DATABASE):
                return (
                    f"{path} of {one.text} is a directory or a database, whose earlier values are not known"
                )
    return ""


class _Known:
    """Tells the files of a set from temporary ones, and whole ones from others."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self._whole: dict[str, set[str]] = defaultdict(set)
        for path, digests in record.versions.items():
            self._whole[record.fold(path)] |= digests

    def digests(self, one: FileSet, tree: Tree) -> dict[str, str]:
        """Return the digests of a set's files by the paths that readers use; "" for one that is not whole."""
        found = {}
        for used, path in one.found(tree, self.record.is_in_sets).items():
            whole = self._whole.get(self.record.fold(path))
            if whole is not None:
                found[used] = tree[path].digest if tree[path].digest in whole else ""
        return found


def _replay(known: _Known, ops: Sequence[Op], replay: _Replay, moments: dict[str, list[Moment]]) -> str:
    """Note the moments of each set; return why that is not possible, "" if it is."""
    record = known.record
    sets = {text: FileSet(text) for text in moments}
    before = {text: known.digests(one, record.initial) for text, one in sets.items()}
    names = 0
    for op in ops:
        try:
            may_show = replay.apply(op)
        except UnmodelledError as error:
            return str(error)
        if not may_show:
            continue
        tree = replay.tree()
        names += len(tree)
        if names > _MOST:
            return "the run changes too many files of sets to tell more of them apart"
        for text, one in sets.items():
            after = known.digests(one, tree)
            touched = _touched(record, one, op, tree, before[text], after)
            if touched:
                moments[text].append(Moment(touched, after))
            before[text] = after
    return ""


def _touched(
    record: Record, one: FileSet, op: Op, tree: Tree, before: Mapping[str, str], after: Mapping[str, str]
) -> frozenset[str]:
    """Return the files that an op put in place or removed, even if they are as before."""
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    if op.traits.installs:
        real = one.found(tree, record.is_in_sets)
        changed |= {
            used
            for used, path in real.items()
            if used in after and any(_is_at(place, used, path) for place in op.paths)
        }
    return frozenset(path for path in changed if after.get(path) != "")


def _is_at(place: str, *paths: str) -> bool:
    return any(path == place or path.startswith(f"{place}/") for path in paths)


def _middle(one: FileSet, moments: Sequence[Moment]) -> Iterator[Mapping[str, str]]:
    """Yield the versions of a set between the first and the last."""
    ends = _ends(moments)
    if one.mark:  # the file that is put in place last
        is_mark = matcher([one.mark])
        ends = [
            at for at, moment in enumerate(moments) if any(map(is_mark, moment.touched & moment.after.keys()))
        ]
    yield from (moments[at].after for at in ends if "" not in moments[at].after.values())


def _ends(moments: Sequence[Moment]) -> list[int]:
    """Return the indexes of the moments that complete a version."""
    last = moments[-1].touched if moments else frozenset()
    ends = [at for at, moment in enumerate(moments) if moment.touched >= last]
    starts = [0, *(end + 1 for end in ends)]
    passes = [moments[start : end + 1] for start, end in zip(starts, ends, strict=False)]
    if not any(map(_has_repeats, passes)):
        return ends
    found, seen = [], set[str]()
    for at, moment in enumerate(moments):
        if seen & moment.touched:
            found.append(at - 1)
            seen = set()
        seen |= moment.touched
    return found


def _has_repeats(several: Sequence[Moment]) -> bool:
    """Return whether a file is made twice."""
    touched = [name for moment in several for name in moment.touched]
    return len(touched) != len(set(touched))


class _Replay:
    """Ops on the model of the disk, and the files after each; a content is digested once."""

    def __init__(self, record: Record, box: bytes, value_of: ValueOf | None) -> None:
        self._values: dict[tuple[str, str], str] = {}
        self._value_of = value_of if record.spec.read or record.spec.mask else None
        self._disk, self._box, self._record = Disk.load(record.template), box, record
        self._digests: dict[int, str] = {}
        sets = map(FileSet, record.spec.together)
        self._is_named = matcher([pattern for one in sets for pattern in (one.files, one.mark) if pattern])

    def apply(self, op: Op) -> bool:
        """Carry out an op; return whether it may change what readers see of a set.

        Raises:
            UnmodelledError: its effect is not known.
        """
        is_link = op.kind == "symlink" or self._kind(op.path) == "link"
        for step in self._disk.apply(op):
            for change in step.changes:
                if change.aspect in (SIZE, BLOCK_OF):
                    self._digests.pop(change.node, None)
        if not op.changes or op.traits.attributes:
            return False
        holds_files = op.traits.installs and self._kind(op.target) != "file"
        return is_link or holds_files or any(map(self._may_be_seen, op.paths))

    def _kind(self, path: str) -> str:
        number = self._disk.files.walk(path)
        return "" if number is None else self._disk.node(number).kind

    def _may_be_seen(self, path: str) -> bool:
        return self._is_named(path) or self._record.is_led_to(path)

    def tree(self) -> Tree:
        """Return the files now; those of sets with the digests of their values, if they have readers."""
        tree = tree_of(self._disk.node, self._box, self._digest)
        if self._value_of is not None:
            for path, entry in tree.items():
                if entry.kind == "file" and self._may_be_seen(path) and self._record.spec.reader_of(path):
                    tree[path] = entry._replace(digest=self._value(path, entry.digest))
        return tree

    def _value(self, path: str, content: str) -> str:
        """Return the digest of the value of a file with a reader; a content is read once."""
        key = path, content
        number = self._disk.files.walk(path)
        if key not in self._values and self._value_of is not None and number is not None:
            node = self._disk.node(number)
            self._values[key] = self._value_of(path, read(node.blocks, node.size))
        return self._values.get(key, "")

    def _digest(self, number: int, node: Node) -> str:
        if number not in self._digests:
            self._digests[number] = digest(node.blocks, node.size, self._box)
        return self._digests[number]
