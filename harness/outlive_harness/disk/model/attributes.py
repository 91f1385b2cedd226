"""Ops that change a file's mode, owner, times, flags or extended attributes."""

from __future__ import annotations

import stat
from collections.abc import Callable

from outlive_harness import abi
from outlive_harness.results.ops import NOW, OMIT, Op

from .files import ATTRIBUTE, XATTR, Change
from .inodes import Inodes, UnmodelledError


def _set(disk: Inodes, number: int, name: str, value: object) -> None:
    before = disk.node(number).attributes.get(name)
    if before != value:
        disk.step("attribute", Change(ATTRIBUTE, number, name, before, value))


def _chmod(disk: Inodes, op: Op) -> None:
    number, node = disk.look_up(op)
    if number is not None and node is not None and node.kind != "link":
        _set(disk, number, "mode", op.mode)
        if op.detail is not None and op.detail.name:  # a minimal access control list replaces a longer one
            _set(disk, number, XATTR + op.detail.name, None)


def _chown(disk: Inodes, op: Op) -> None:
    number, node = disk.look_up(op)
    if number is None or node is None:
        return
    if op.detail is not None and op.detail.owner != (-1, -1):
        before = node.attributes.get("owner", (-1, -1))
        user, group = (new if new != -1 else old for new, old in zip(op.detail.owner, before, strict=True))
        _set(disk, number, "owner", (user, group))
    if node.kind in ("file", "special"):
        # chown(2) clears the bits by which a program runs as the file's owner or group.
        gone = stat.S_ISUID | (stat.S_ISGID if node.mode & stat.S_IXGRP else 0)
        _set(disk, number, "mode", node.mode & ~gone)


def _utime(disk: Inodes, op: Op) -> None:
    number, node = disk.look_up(op)
    if number is None or node is None or op.detail is None or op.detail.times is None:
        return
    before = node.attributes.get("times")
    if before is not None or not {NOW, OMIT} & set(op.detail.times):
        times = tuple(
            old if new == OMIT else new
            for new, old in zip(op.detail.times, before or (OMIT, OMIT), strict=True)
        )
        _set(disk, number, "times", None if NOW in times else times)


def _setflags(_disk: Inodes, op: Op) -> None:
    raise UnmodelledError(f"{op.describe()}: what persists of an inode's flags is not known")


def _setxattr(disk: Inodes, op: Op) -> None:
    number, node = disk.look_up(op)
    if number is None or node is None or op.detail is None:
        return
    name = XATTR + op.detail.name
    if op.detail.name.startswith("system.posix_acl"):
        if len(op.data or b"") <= abi.ACL_EMPTY:
            _set(disk, number, name, None)
            return
        raise UnmodelledError(f"{op.describe()}: access control lists change modes in ways not modelled")
    exists = name in node.attributes
    if (exists and op.flags & abi.XATTR_CREATE) or (not exists and op.flags & abi.XATTR_REPLACE):
        return
    if not op.detail.name.startswith("user.") or node.kind in ("file", "dir"):
        _set(disk, number, name, op.data)


def _removexattr(disk: Inodes, op: Op) -> None:
    number, _ = disk.look_up(op)
    if number is not None and op.detail is not None:
        _set(disk, number, XATTR + op.detail.name, None)


EFFECTS: dict[str, Callable[[Inodes, Op], None]] = {
    "chmod": _chmod,
    "chown": _chown,
    "utime": _utime,
    "setflags": _setflags,
    "setxattr": _setxattr,
    "removexattr": _removexattr,
}
