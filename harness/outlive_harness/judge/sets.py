"""Truth 1 for files that belong together: a crash state shows all of one version of the set, or none.

A file may be whole and still be wrong beside the others: a table of today with an index of yesterday. The
versions of a set are those that the golden run made: see golden.generations.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from outlive_harness.disk.tree import Tree
from outlive_harness.results.globs import matcher

from . import links

#: How many files of one version a message names.
_NAMED = 3
#: Digests of files by the names that their paths count as; several paths may count as one name.
Files = dict[str, tuple[str, ...]]


class Version(NamedTuple):
    """The files of a set at one moment.

    Attributes:
        files: the files.
        marks: the files that say that the set is complete, if its declaration names any.
    """

    files: Files
    marks: Files


@dataclass(frozen=True, slots=True)
class Mixed:
    """A set whose files are not of one version.

    Attributes:
        sentence: which files are of which version, in one sentence.
        detail: all of them, a line a version.
    """

    sentence: str
    detail: str


@dataclass(frozen=True, slots=True)
class FileSet:
    """A declared set.

    Attributes:
        text: its declaration: a pattern, or ``PATTERN if PATTERN``.
    """

    text: str

    @property
    def files(self) -> str:
        """The pattern of the files."""
        return self.text.split(" if ", 1)[0]

    @property
    def mark(self) -> str:
        """The pattern of the files that must be there for the set to be complete; "" for none."""
        return self.text.partition(" if ")[2]

    def found(self, tree: Tree, is_output: Callable[[str], bool]) -> dict[str, str]:
        """Return the outputs of the set by the paths that readers use, each with the file's own path."""
        matches = matcher([one for one in (self.files, self.mark) if one])

        def is_in(path: str) -> bool:
            return matches(path) and is_output(path)

        own = {path: path for path, entry in tree.items() if entry.kind == "file" and is_in(path)}
        return own | links.through(tree, is_in)

    def version(self, digests: Mapping[str, str], fold: Callable[[str], str]) -> Version:
        """Return the version that is made of files with these digests, by path."""
        is_mark = matcher([self.mark] if self.mark else [])
        several: tuple[dict[str, list[str]], ...] = (defaultdict(list), defaultdict(list))
        for path, digest in digests.items():
            several[is_mark(path)][fold(path)].append(digest)
        files, marks = ({name: tuple(sorted(all_of)) for name, all_of in one.items()} for one in several)
        return Version(files, marks)


def mixed(
    one: FileSet, digests: Mapping[str, str], known: Sequence[Version], fold: Callable[[str], str]
) -> Mixed | None:
    """Return how the files of a set are of different versions; None if they are not.

    A file with a content that no version has says nothing: if it is half-written, that is found apart.

    Args:
        one: the set.
        digests: its files by path.
        known: its versions, in order, the first from before the run.
        fold: returns the name that a path counts as.
    """
    here = one.version(digests, fold)
    if (one.mark and not here.marks) or not (here.files or one.mark):
        return None
    unknown = {name for name, found in here.files.items() if all(v.files.get(name) != found for v in known)}
    candidates = [version for version in known if version.marks == here.marks] if one.mark else list(known)
    if not candidates:  # the mark itself is half-written, or of a run of its own
        return None
    # A mark whose content is another in each version, as a manifest, says which files its readers look for.
    takes_more = len({repr(version.marks) for version in known if version.marks}) > 1
    for version in candidates:
        names = version.files.keys() if takes_more else version.files.keys() | here.files.keys()
        if all(here.files.get(name) == version.files.get(name) for name in names - unknown):
            return None
    return _told(one, digests, here, known, _nearest(here, candidates), unknown, fold)


def _nearest(here: Version, candidates: Sequence[Version]) -> Version:
    """Return the version that most files are of, the latest of several."""
    return max(
        reversed(candidates),
        key=lambda one: sum(one.files.get(name) == found for name, found in here.files.items()),
    )


def _told(
    one: FileSet,
    digests: Mapping[str, str],
    here: Version,
    known: Sequence[Version],
    nearest: Version,
    unknown: set[str],
    fold: Callable[[str], str],
) -> Mixed:
    names = _names(known)
    groups: dict[str, list[str]] = {}
    order = [nearest, *(version for version in reversed(known) if version is not nearest)]
    is_mark = matcher([one.mark] if one.mark else [])
    for path in sorted(digests):
        name = fold(path)
        if name in unknown or is_mark(path):
            continue
        of = next((version for version in order if version.files.get(name) == here.files[name]), None)
        if of is not None:
            groups.setdefault(names[id(of)], []).append(path)
    absent = sorted(nearest.files.keys() - here.files.keys())
    parts = [f"{_listed(paths)} of {name}" for name, paths in groups.items()]
    parts += [f"{_listed(absent)} absent"] if absent else []
    lines = [f"{name}: {', '.join(paths)}" for name, paths in groups.items()]
    lines += [f"absent: {', '.join(absent)}"] if absent else []
    sentence = f"the files of {one.text} belong together, and are not all of one version: {', '.join(parts)}"
    return Mixed(sentence, "\n".join(lines))


def _names(known: Sequence[Version]) -> dict[int, str]:
    """Return a name for each version, by its identity."""
    count = sum(1 for version in known[1:] if version.files)
    names = {id(known[0]): "the version from before the run"}
    number = 0
    for version in known[1:]:
        number += bool(version.files)
        names[id(version)] = "the version of the run" if count == 1 else f"version {number} of {count}"
    return names


def _listed(paths: Iterable[str]) -> str:
    several = list(paths)
    more = len(several) - _NAMED
    text = ", ".join(several[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"{text} {'is' if len(several) == 1 else 'are'}"
