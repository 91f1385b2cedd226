"""The model of the disk: ops replayed on a tree in memory, never on real files.

It says what the files should be after the first k ops of a trace, and so checks the interception
itself: what a real SIGKILL leaves must be what the ops before it predict.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

from outlive_harness.trace import Op

from .tree import Entry, Tree, digest_bytes

#: fallocate(2) modes
_KEEP_SIZE, _PUNCH_HOLE, _COLLAPSE, _ZERO, _INSERT = 1, 2, 8, 16, 32
_O_TMPFILE_BIT = 0o20000000


class UnmodelledError(RuntimeError):
    """An op whose effect cannot be told from the trace."""


@dataclass(slots=True)
class Node:
    """A file, directory, symbolic link or special file; hard links share one."""

    kind: str
    mode: int
    content: bytearray = field(default_factory=bytearray)
    target: str = ""


class Disk:
    """A tree of paths over nodes, changed by ops.

    Args:
        umask: of the program that made the trace.
    """

    def __init__(self, *, umask: int = 0o022) -> None:
        self.nodes: dict[str, Node] = {}
        self._umask = umask

    def apply(self, op: Op) -> None:
        """Do what the op did. One that must have failed (the name existed, ...) does nothing.

        Raises:
            UnmodelledError: its effect is not known.
        """
        handler = getattr(self, "_" + op.kind, None)
        if handler is not None:
            handler(op)

    def tree(self) -> Tree:
        """Return the files as tree.scan() would read them."""
        return {
            path: Entry("file", node.mode, len(node.content), digest_bytes(bytes(node.content)))
            if node.kind == "file"
            else Entry(node.kind, 0 if node.kind == "link" else node.mode, 0, node.target)
            for path, node in self.nodes.items()
        }

    def _has_parent(self, path: str) -> bool:
        parent = os.path.dirname(path)
        return not parent or (parent in self.nodes and self.nodes[parent].kind == "dir")

    def _below(self, path: str) -> list[str]:
        return [name for name in self.nodes if name.startswith(path + "/")]

    def _file(self, op: Op) -> Node | None:
        node = self.nodes.get(op.path)
        return node if node is not None and node.kind == "file" else None

    def _open(self, op: Op) -> None:
        if op.flags & _O_TMPFILE_BIT:
            return  # no name yet
        node = self._file(op)
        if op.path in self.nodes:
            exclusive = op.flags & os.O_EXCL and op.flags & os.O_CREAT
            if node is not None and op.flags & os.O_TRUNC and not exclusive:
                node.content.clear()
        elif op.flags & os.O_CREAT and self._has_parent(op.path):
            self.nodes[op.path] = Node("file", op.mode & ~self._umask)

    def _write(self, op: Op) -> None:
        node = self._file(op)
        if node is None:
            return  # an unnamed file: nothing of the tree changes
        if op.data is None:
            raise UnmodelledError(f"the data of {op.describe()} was not recorded")
        start = len(node.content) if op.offset < 0 else op.offset
        if op.data and start > len(node.content):
            node.content.extend(bytes(start - len(node.content)))
        node.content[start : start + len(op.data)] = op.data

    def _copy(self, op: Op) -> None:
        raise UnmodelledError(f"{op.syscall} moves data inside the kernel")

    def _truncate(self, op: Op) -> None:
        node = self._file(op)
        if node is None:
            return
        del node.content[op.length :]
        node.content.extend(bytes(op.length - len(node.content)))

    def _fallocate(self, op: Op) -> None:
        node = self._file(op)
        if node is None:
            return
        end = op.offset + op.length
        if op.flags & (_COLLAPSE | _INSERT):
            raise UnmodelledError("fallocate moved blocks")
        if op.flags & (_PUNCH_HOLE | _ZERO):
            stop = min(end, len(node.content))
            if stop > op.offset:
                node.content[op.offset : stop] = bytes(stop - op.offset)
        if not op.flags & _KEEP_SIZE and end > len(node.content):
            node.content.extend(bytes(end - len(node.content)))

    def _mkdir(self, op: Op) -> None:
        if op.path and op.path not in self.nodes and self._has_parent(op.path):
            self.nodes[op.path] = Node("dir", op.mode & ~self._umask)

    def _mknod(self, op: Op) -> None:
        if op.path not in self.nodes and self._has_parent(op.path):
            # Only the type counts of a device; without type bits mknod(2) makes a file.
            kind = stat.S_IFMT(op.flags) or stat.S_IFREG
            mode = op.mode & ~self._umask
            regular = kind == stat.S_IFREG
            self.nodes[op.path] = Node("file", mode) if regular else Node("special", mode, target=f"{kind:o}")

    def _symlink(self, op: Op) -> None:
        if op.path not in self.nodes and self._has_parent(op.path):
            self.nodes[op.path] = Node("link", 0, target=op.target)

    def _unlink(self, op: Op) -> None:
        node = self.nodes.get(op.path)
        if node is not None and node.kind != "dir":
            del self.nodes[op.path]

    def _rmdir(self, op: Op) -> None:
        node = self.nodes.get(op.path)
        if node is not None and node.kind == "dir" and not self._below(op.path):
            del self.nodes[op.path]

    def _rename(self, op: Op) -> None:
        if op.path == "/" or op.target == "/":
            raise UnmodelledError("a rename into or out of the box")
        source, target = self.nodes.get(op.path), self.nodes.get(op.target)
        if source is None or not self._has_parent(op.target) or source is target:
            return
        if op.flags & 2:  # RENAME_EXCHANGE
            if target is not None:
                self._move(op.path, "\0")
                self._move(op.target, op.path)
                self._move("\0", op.target)
            return
        if target is not None and (
            op.flags & 1  # RENAME_NOREPLACE
            or (target.kind == "dir") != (source.kind == "dir")
            or self._below(op.target)
        ):
            return
        self.nodes.pop(op.target, None)
        self._move(op.path, op.target)

    def _move(self, source: str, target: str) -> None:
        for name in [source, *self._below(source)]:
            self.nodes[target + name[len(source) :]] = self.nodes.pop(name)

    def _link(self, op: Op) -> None:
        source = self.nodes.get(op.path)
        if source is not None and op.target not in self.nodes and self._has_parent(op.target):
            self.nodes[op.target] = source

    def _chmod(self, op: Op) -> None:
        node = self.nodes.get(op.path)
        if node is not None and node.kind != "link":
            node.mode = op.mode
