"""A tree of files as data: names, types, modes, sizes, digests, link targets."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from .flags import flags_of

#: Replaces the box's path before contents are digested, so that outputs that name it compare equal.
BOX_MARK = b"\0{box}\0"
#: Files of this size or more are digested in pieces, with any mention of the box left in them.
WHOLE = 1 << 24


class Entry(NamedTuple):
    """One name of a tree.

    Attributes:
        kind: ``file``, ``dir``, ``link``, or ``special`` (a FIFO, socket or device).
        mode: permission bits.
        size: bytes of a file; 0 otherwise.
        digest: the digest of a file's content, the target of a link, the type of a special file.
    """

    kind: str
    mode: int
    size: int
    digest: str


class Linked(Entry):
    """The entry of a file with several names in its tree; it equals the entry of a file with one name.

    Attributes:
        first: the first of these names in order.
    """

    first = ""


Tree = dict[str, Entry]


def mark_links(tree: Tree, names: Iterable[Sequence[str]]) -> None:
    """Mark the entries of files with several names; each of *names* lists the names of one file."""
    for several in names:
        for path in several if len(several) > 1 else ():
            tree[path] = linked = Linked(*tree[path])
            linked.first = min(several)


def digest_bytes(content: bytes, box: bytes = b"") -> str:
    """Return the digest of a content; *box* is the path of the box that it was made in."""
    if box and box in content:
        content = content.replace(box, BOX_MARK)
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def digest_file(path: str | Path, box: bytes = b"", *, opens: bool = True) -> str:
    """Return the digest of a file's content, as digest_bytes() does.

    Files over 16 MiB are read in pieces, and any mention of the box in them is left.

    Raises:
        OSError: the file cannot be read, even by its owner.
    """
    with readable(path, opens=opens), open(path, "rb", buffering=0) as file:
        content = file.read(WHOLE)
        if len(content) < WHOLE:
            return digest_bytes(content, box)
        running = hashlib.blake2b(content, digest_size=16)
        while content := file.read(WHOLE):
            running.update(content)
        return running.hexdigest()


@contextlib.contextmanager
def readable(path: str | Path, *, opens: bool = True) -> Iterator[None]:
    """Give the owner the right to read a file for the body, then restore its mode.

    Without *opens* no mode is changed: the file is the user's.
    """
    if not opens or os.access(path, os.R_OK):
        yield
        return
    mode = stat.S_IMODE(os.lstat(path).st_mode)
    os.chmod(path, mode | 0o700)
    try:
        yield
    finally:
        os.chmod(path, mode)


class Known(Protocol):
    """Digests of files that have been read before."""

    def digest(self, path: str, info: os.stat_result) -> str | None:
        """Return the digest of a file, if it is known."""

    def digested(self, path: str, info: os.stat_result, digest: str) -> None:
        """Keep the digest of a file."""


def scan(
    root: Path,
    *,
    box: bytes = b"",
    skip: Callable[[str], bool] | None = None,
    known: Known | None = None,
    opens: bool = True,
) -> Tree:
    """Read the tree below *root*.

    Args:
        root: the directory; it is not an entry itself.
        box: the path to replace in contents before they are digested.
        skip: returns whether to leave out a relative path, and all below it.
        known: digests by relative path.
        opens: whether the mode of an unreadable file is changed for a moment; never in a user's directory.

    Raises:
        OSError: something cannot be read.
    """
    tree: Tree = {}
    names: dict[tuple[int, int], list[str]] = {}
    _scan(str(root), "", tree, names, box, skip, known, opens=opens)
    mark_links(tree, names.values())
    return tree


def _scan(
    root: str,
    prefix: str,
    tree: Tree,
    names: dict[tuple[int, int], list[str]],
    box: bytes,
    skip: Callable[[str], bool] | None,
    known: Known | None,
    *,
    opens: bool,
) -> None:
    with readable(root, opens=opens), os.scandir(root) as listing:
        for item in listing:
            name = prefix + item.name
            if skip is not None and skip(name):
                continue
            info = item.stat(follow_symlinks=False)
            mode = stat.S_IMODE(info.st_mode)
            if stat.S_ISREG(info.st_mode):
                digest = known.digest(name, info) if known is not None else None
                if digest is None:
                    digest = digest_file(item.path, box, opens=opens)
                    if known is not None:
                        known.digested(name, info, digest)
                tree[name] = Entry("file", mode, info.st_size, digest)
                if info.st_nlink > 1:
                    names.setdefault((info.st_dev, info.st_ino), []).append(name)
            elif stat.S_ISDIR(info.st_mode):
                tree[name] = Entry("dir", mode, 0, "")
                _scan(item.path, name + "/", tree, names, box, skip, known, opens=opens)
            elif stat.S_ISLNK(info.st_mode):
                target = os.fsencode(os.readlink(item.path)).replace(box or b"\0", BOX_MARK)
                tree[name] = Entry("link", 0, 0, os.fsdecode(target))
            else:
                tree[name] = Entry("special", mode, 0, f"{stat.S_IFMT(info.st_mode):o}")


def attributes(root: Path, tree: Tree) -> dict[str, list[tuple[str, bytes]]]:
    """Return the extended attributes (xattr(7)) and inode flags of a tree's files, by path."""
    found: dict[str, list[tuple[str, bytes]]] = {}
    for path in tree:
        if flags := flags_of(root / path):
            found[path] = [("flags", b"%x" % flags)]
        with contextlib.suppress(OSError):  # no attributes here, or not readable
            where = root / path
            names = [name for name in os.listxattr(where, follow_symlinks=False) if name.startswith("user.")]
            if names:
                found.setdefault(path, []).extend(
                    (name, os.getxattr(where, name, follow_symlinks=False)) for name in sorted(names)
                )
    return found


def tree_digest(tree: Tree, rename: Callable[[str], str] = lambda name: name) -> str:
    """Return one digest for a whole tree: trees with equal digests are one crash state.

    Args:
        tree: the tree.
        rename: returns the name that a path counts as (random parts folded).
    """
    first: dict[str, str] = {}
    for name, entry in tree.items():
        if isinstance(entry, Linked):
            first[entry.first] = min(first.get(entry.first, rename(name)), rename(name))
    lines = sorted(
        (rename(name), *entry, *([first[entry.first]] if isinstance(entry, Linked) else []))
        for name, entry in tree.items()
    )
    text = repr(lines).encode(errors="surrogateescape")
    return hashlib.blake2b(text, digest_size=16).hexdigest()
