"""Ops that make, move or remove names.

Sources: open(2), mkdir(2), mknod(2), symlink(2), unlink(2), rmdir(2), rename(2), link(2).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from outlive_harness import abi
from outlive_harness.results.ops import Op

from .contents import resize
from .inodes import Inodes, UnmodelledError

#: Permission bits that mkdir(2) takes from its argument.
_BITS_OF_MKDIR = 0o1777
_RENAME_FLAGS = abi.RENAME_EXCHANGE | abi.RENAME_NOREPLACE | abi.RENAME_WHITEOUT


def _open(disk: Inodes, op: Op) -> None:
    flags = op.flags
    if flags & os.O_PATH:
        return
    number, node = disk.look_up(op)
    if flags & abi.O_TMPFILE_BIT:
        valid = flags & os.O_DIRECTORY and flags & os.O_ACCMODE and not flags & os.O_CREAT
        if valid and number is not None and node is not None and node.kind == "dir":
            disk.make_unnamed(op, number, linkable=not flags & os.O_EXCL)
    elif number is not None and node is not None:
        refused = flags & os.O_DIRECTORY or (flags & os.O_EXCL and flags & os.O_CREAT)
        if node.kind == "file" and flags & os.O_TRUNC and not refused:
            resize(disk, number, 0)
    elif flags & os.O_CREAT and not flags & os.O_DIRECTORY:
        _create(disk, op, lambda: disk.make_node(op, "file", disk.masked(op)))


def _create(disk: Inodes, op: Op, make: Callable[[], int]) -> None:
    """Make a file at the op's path, if there is none."""
    directory, name = disk.parent(op.path)
    if disk.look_up(op)[0] is None and directory is not None:
        disk.step("name", disk.enter(directory, name, make()))


def _mkdir(disk: Inodes, op: Op) -> None:
    directory, _ = disk.parent(op.path)
    if directory is None:
        return
    # A new directory inherits the set-group-id bit.
    mode = disk.masked(op) & _BITS_OF_MKDIR | (disk.node(directory).mode & stat.S_ISGID)
    _create(disk, op, lambda: disk.make_node(op, "dir", mode))


def _mknod(disk: Inodes, op: Op) -> None:
    # Only the type of a device counts; without type bits mknod(2) makes a regular file.
    kind = stat.S_IFMT(op.flags) or stat.S_IFREG
    if kind in (stat.S_IFDIR, stat.S_IFLNK):
        return
    mode, name, target = disk.masked(op), "special", f"{kind:o}"
    if kind == stat.S_IFREG:
        name, target = "file", ""
    _create(disk, op, lambda: disk.make_node(op, name, mode, target))


def _symlink(disk: Inodes, op: Op) -> None:
    if op.target:
        _create(disk, op, lambda: disk.make_node(op, "link", 0, op.target))


def _unlink(disk: Inodes, op: Op) -> None:
    number, node = disk.look_up(op)
    directory, name = disk.parent(op.path)
    if number is not None and node is not None and node.kind != "dir" and directory is not None:
        disk.step("name", disk.enter(directory, name, None))


def _rmdir(disk: Inodes, op: Op) -> None:
    number, node = disk.look_up(op)
    if number is None or node is None or node.kind != "dir" or node.entries:
        return
    directory, name = disk.parent(op.path)
    if directory is None:
        raise UnmodelledError("the box itself was removed")
    disk.step("name", disk.enter(directory, name, None))


def _rename(disk: Inodes, op: Op) -> None:
    both = op.flags & abi.RENAME_EXCHANGE and op.flags & (abi.RENAME_NOREPLACE | abi.RENAME_WHITEOUT)
    if both or op.flags & ~_RENAME_FLAGS or not op.path or not op.target:
        return
    source, moved = disk.look_up(op)
    there, replaced = disk.look_up_target(op)
    from_directory, from_name = disk.parent(op.path)
    to_directory, to_name = disk.parent(op.target)
    if source is None or moved is None or from_directory is None or to_directory is None:
        return
    if source == there or _is_below(disk, to_directory, source):
        return  # two names of one file: nothing to do; or a directory would come to be in itself
    left = None
    if op.flags & abi.RENAME_EXCHANGE:
        if there is None or _is_below(disk, from_directory, there):
            return
        left = there
    elif replaced is not None and (
        op.flags & abi.RENAME_NOREPLACE
        or (replaced.kind == "dir") != (moved.kind == "dir")
        or replaced.entries
    ):
        return
    elif op.flags & abi.RENAME_WHITEOUT:
        left = disk.make_node(op, "special", 0, f"{stat.S_IFCHR:o}")
    first = disk.enter(from_directory, from_name, left)
    second = disk.enter(to_directory, to_name, source)
    disk.step("move", first)
    disk.step("move", second)


def _is_below(disk: Inodes, directory: int, top: int) -> bool:
    """Return whether a directory is *top*, or in it."""
    waiting = [top]
    while waiting:
        number = waiting.pop()
        if number == directory:
            return True
        waiting += disk.node(number).entries.values()
    return False


def _link(disk: Inodes, op: Op) -> None:
    source, node = disk.look_up(op)
    directory, name = disk.parent(op.target)
    if source is None or node is None or directory is None or node.kind == "dir":
        return
    if disk.look_up_target(op)[0] is None and (node.links or node.linkable):
        disk.step("name", disk.enter(directory, name, source))


EFFECTS: dict[str, Callable[[Inodes, Op], None]] = {
    "open": _open,
    "mkdir": _mkdir,
    "mknod": _mknod,
    "symlink": _symlink,
    "unlink": _unlink,
    "rmdir": _rmdir,
    "rename": _rename,
    "link": _link,
}
