"""Files as inodes, and their smallest changes, which a disk may persist or lose."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from outlive_harness.disk import content
from outlive_harness.disk.blobs import Blob
from outlive_harness.disk.content import BLOCK, Block
from outlive_harness.disk.tree import BOX_MARK, Entry, Tree, mark_links, readable
from outlive_harness.results.ops import Content

#: The aspects of a file that change.
ENTRY, SIZE, BLOCK_OF, ATTRIBUTE = "entry", "size", "block", "attribute"
#: The number of the top directory.
ROOT = 1
#: The prefix of extended attributes among a node's attributes.
XATTR = "xattr:"
#: Files up to this size are read when they are loaded.
_SMALL = 1 << 16


class Change(NamedTuple):
    """One value of one file becomes another.

    Attributes:
        aspect: ENTRY (a name of a directory: a file's number or None), SIZE, BLOCK_OF (a Block or
            None), ATTRIBUTE (any value or None).
        node: number of the file or directory.
        where: the name, 0, the block's index, or the attribute's name.
        before: the value before.
        after: the value after.
    """

    aspect: str
    node: int
    where: str | int
    before: Any
    after: Any

    @property
    def key(self) -> tuple[str, int, str | int]:
        """The thing that changes."""
        return self.aspect, self.node, self.where


class Step(NamedTuple):
    """Changes that a disk persists together or not at all: a micro-op.

    Attributes:
        what: ``name`` (an entry is made, replaced or removed), ``move`` (one half of a rename), ``grow`` (a
            write makes the file longer), ``edge`` (write-back takes the size to a block's end), ``size`` (a
            truncation or fallocate sets the size), ``data`` (bytes of a block are written), ``zero`` (the
            rest of a block is cleared), ``free`` (blocks past the end are freed), ``attribute``.
        changes: the changes.
        start: the offset at which ``data`` begins.
        stop: the offset at which it ends; for an ``edge`` below the size, which has no effect if the size
            persisted, the least size.
    """

    what: str
    changes: tuple[Change, ...]
    start: int = 0
    stop: int = 0


@dataclass(slots=True)
class Node:
    """A file, directory, symbolic link or special file.

    Attributes:
        kind: as in tree.Entry.
        target: the text of a link, or the type of a special file.
        entries: a directory's files: numbers by name.
        size: bytes of a file.
        blocks: a file's blocks by index; a missing block is all zeros.
        attributes: ``mode``, ``owner``, ``times``, and ``xattr:NAME``.
        links: the number of its names.
        linkable: whether it can get a name if it has none (``O_TMPFILE`` without ``O_EXCL``).
        touched: the thread that changed it last; 0 for none.
        low: the size before a write past it left a gap, while that growth may be lost; -1 for none.
        edges: ends of blocks written below the size since then.
    """

    kind: str
    target: str = ""
    entries: dict[str, int] = field(default_factory=dict)
    size: int = 0
    blocks: dict[int, Block] = field(default_factory=dict)
    attributes: dict[str | int, Any] = field(default_factory=dict)
    links: int = 0
    linkable: bool = False
    touched: int = 0
    low: int = -1
    edges: set[int] = field(default_factory=set)

    @property
    def mode(self) -> int:
        """Permission bits."""
        return int(self.attributes.get("mode", 0))


class Files:
    """Files by number."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {ROOT: Node("dir", attributes={"mode": 0o755}, links=1)}

    def walk(self, path: str) -> int | None:
        """Return the number of the file at a path; None if there is no file."""
        return walk(self.nodes.__getitem__, path)

    def load(self, root: Path) -> None:
        """Load the files below a directory; large contents are read later, and must not change.

        Raises:
            OSError: a file cannot be read.
        """
        self.nodes[ROOT].attributes = _attributes(str(root), os.stat(root))
        self._load(str(root), ROOT, {})

    def _load(self, directory: str, parent: int, known: dict[tuple[int, int], int]) -> None:
        with readable(directory), os.scandir(directory) as listing:
            items = sorted(listing, key=lambda item: item.name)
            for item in items:
                info = item.stat(follow_symlinks=False)
                identity = info.st_dev, info.st_ino
                number = known.get(identity)
                if number is None:
                    number = known[identity] = len(self.nodes) + 1
                    self.nodes[number] = _node(item.path, info)
                    if stat.S_ISDIR(info.st_mode):
                        self._load(item.path, number, known)
                self.nodes[number].links += 1
                self.nodes[parent].entries[item.name] = number


def walk(node_of: Callable[[int], Node], path: str) -> int | None:
    """Return the number of the file at a path; None if there is no file."""
    number = ROOT
    if path:
        for name in path.split("/"):
            below = node_of(number).entries.get(name)
            if below is None:
                return None
            number = below
    return number


def put(node: Node, aspect: str, where: str | int, value: Any) -> None:  # noqa: ANN401 - of any aspect
    """Set one value of a node; None removes it."""
    if aspect == SIZE:
        node.size = value
        return
    values: dict[Any, Any] = (
        node.entries if aspect == ENTRY else node.blocks if aspect == BLOCK_OF else node.attributes
    )
    if value is None:
        values.pop(where, None)
    else:
        values[where] = value


def _node(path: str, info: os.stat_result) -> Node:
    """Read one file; of a directory, only its attributes."""
    attributes = _attributes(path, info)
    if stat.S_ISDIR(info.st_mode):
        return Node("dir", attributes=attributes)
    if stat.S_ISLNK(info.st_mode):
        return Node("link", os.readlink(path), attributes=attributes)
    if not stat.S_ISREG(info.st_mode):
        return Node("special", f"{stat.S_IFMT(info.st_mode):o}", attributes=attributes)
    node = Node("file", size=info.st_size, attributes=attributes)
    source: Content | bytes = Blob.of_file(path)
    if info.st_size <= _SMALL:
        with readable(path), open(path, "rb", buffering=0) as file:
            source = file.read()
    node.blocks = {
        at // BLOCK: Block(source, at, min(at + BLOCK, info.st_size)) for at in range(0, info.st_size, BLOCK)
    }
    return node


def _attributes(path: str, info: os.stat_result) -> dict[str | int, Any]:
    return {
        "mode": stat.S_IMODE(info.st_mode),
        "times": (info.st_atime_ns, info.st_mtime_ns),
        "owner": (info.st_uid, info.st_gid),
        **_xattrs(path),
    }


def _xattrs(path: str) -> dict[str | int, Any]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {XATTR + name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    except OSError:
        return {}  # not supported, or not permitted


def walk_nodes(node_of: Callable[[int], Node]) -> Iterator[tuple[str, int]]:
    """Yield (path, number) of all files below the top directory, a directory before its files."""
    waiting = [("", ROOT, frozenset({ROOT}))]
    while waiting:
        prefix, directory, above = waiting.pop()
        for name, number in node_of(directory).entries.items():
            if number in above:
                continue  # halves of renames that are lost alone can make a cycle
            yield prefix + name, number
            if node_of(number).kind == "dir":
                waiting.append((f"{prefix}{name}/", number, above | {number}))


def entry(node: Node, digest: str) -> Entry:
    """Return a node's entry in a tree; *digest* is that of a file's content."""
    if node.kind == "file":
        return Entry("file", node.mode, node.size, digest)
    return Entry(node.kind, 0 if node.kind == "link" else node.mode, 0, node.target)


def tree_of(
    node_of: Callable[[int], Node], box: bytes = b"", digest_of: Callable[[int, Node], str] | None = None
) -> Tree:
    """Return files as tree.scan() would read them."""
    tree: Tree = {}
    done: dict[int, Entry] = {}
    names: dict[int, list[str]] = {}
    for path, number in walk_nodes(node_of):
        found = done.get(number)
        if found is None:
            node = node_of(number)
            digest = ""
            if node.kind == "file":
                digest = digest_of(number, node) if digest_of else content.digest(node.blocks, node.size, box)
            found = entry(node, digest)
            if node.kind == "link" and box:
                target = os.fsencode(node.target).replace(box, BOX_MARK)
                found = found._replace(digest=os.fsdecode(target))
            done[number] = found
        tree[path] = found
        if found.kind == "file":
            names.setdefault(number, []).append(path)
    mark_links(tree, names.values())
    return tree


def write_nodes(
    node_of: Callable[[int], Node],
    directory: Path,
    *,
    initial: Path | None = None,
    copies: Mapping[str, str] | None = None,
) -> list[str]:
    """Make files real below an existing, empty directory: modes, hard links, attributes, known times.

    Owners are set if permitted, and extended attributes if the file system supports them. A file whose times
    are not known gets those of its creation here.

    Args:
        node_of: returns a file by its number.
        directory: the directory.
        initial: the directory that the initial files were loaded from.
        copies: copies of files of that directory, by relative path; they are moved in.

    Returns:
        Relative paths of the files over 64 KiB with the content and attributes that they have in *initial*.

    Raises:
        OSError: a file cannot be made.
    """
    same: list[str] = []
    made: dict[int, str] = {}
    directories: list[tuple[str, Node]] = []
    for path, number in walk_nodes(node_of):
        node, where = node_of(number), f"{directory}/{path}"
        if number in made and node.kind != "dir":
            os.link(made[number], where, follow_symlinks=False)
            continue
        made[number] = where
        if node.kind == "dir":
            os.mkdir(where, 0o700)
            directories.append((where, node))
            continue
        is_same = node.kind == "file" and initial is not None and _is_file(node, f"{initial}/{path}")
        if is_same:
            same.append(path)
        if is_same and copies and path in copies:
            os.rename(copies[path], where)
        elif not _make(where, node):
            continue
        _finish(where, node)
    for where, node in reversed(directories):
        _finish(where, node)
    return same


def _make(where: str, node: Node) -> bool:
    """Make a file, link or special file; return False if it may not be made."""
    if node.kind == "link":
        os.symlink(node.target, where)
    elif node.kind == "file":
        _write_file(where, node)
    else:
        return _make_special(where, node)
    return True


def _is_file(node: Node, path: str) -> bool:
    """Return whether a node equals the large file that it was loaded from, except for its access time."""
    if node.size <= _SMALL:
        return False
    source = content.source_of(node.blocks, node.size)
    if not isinstance(source, Blob) or not source.is_file(path):
        return False
    there, here = _attributes(path, os.lstat(path)), dict(node.attributes)
    (_, written), times = there.pop("times"), here.pop("times", None)
    return here == there and times is not None and times[1] == written


def _write_file(where: str, node: Node) -> None:
    fd = os.open(where, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for offset, part in content.chunks(node.blocks, node.size):
            done = 0
            while done < len(part):
                done += os.pwrite(fd, part[done:], offset + done)
        os.ftruncate(fd, node.size)
    finally:
        os.close(fd)


def _make_special(where: str, node: Node) -> bool:
    kind = int(node.target, 8)
    try:
        # The device number of a device is not kept.
        os.mknod(where, kind if kind in (stat.S_IFIFO, stat.S_IFSOCK) else stat.S_IFCHR)
    except PermissionError:
        return False
    return True


def _finish(where: str, node: Node) -> None:
    owner = node.attributes.get("owner")
    if owner is not None:
        with contextlib.suppress(OSError):
            os.chown(where, *owner, follow_symlinks=False)
    for name, value in node.attributes.items():
        if isinstance(name, str) and name.startswith(XATTR):
            with contextlib.suppress(OSError):
                os.setxattr(where, name.removeprefix(XATTR), value, follow_symlinks=False)
    if node.kind != "link":
        os.chmod(where, node.mode)
    times = node.attributes.get("times")
    if times is not None:
        os.utime(where, ns=times, follow_symlinks=False)
