"""Calls that change what paths mean: mounts, namespaces, another root.

Sources: mount(2), move_mount(2), open_tree(2), setns(2), chroot(2), pivot_root(2).
"""

from __future__ import annotations

from outlive_harness import abi
from outlive_harness.intercept.listener import Arguments
from outlive_harness.intercept.memory import read_string
from outlive_harness.intercept.paths import locate
from outlive_harness.intercept.task import descriptor_path, is_capable

from .context import Context, Decode

#: File systems of the kernel's own making, and such as begin empty: mounted elsewhere they hide no file.
_HARMLESS = frozenset(
    {b"proc", b"sysfs", b"tmpfs", b"ramfs", b"devpts", b"devtmpfs", b"mqueue", b"cgroup", b"cgroup2"}
)


def _view(run: Context, name: str, tid: int, a: Arguments) -> None:
    wanted = abi.CAP_SYS_CHROOT if name == "chroot" else abi.CAP_SYS_ADMIN
    if is_capable(tid, wanted) and _changes_paths(run, name, tid, a):
        reason = f"it changed what its paths mean ({name}): its files were not all recognised"
        run.blind["", reason] = None


def _changes_paths(run: Context, name: str, tid: int, a: Arguments) -> bool:
    """Return whether a file of the box may get another path for a task, or its path another file."""
    if name == "chroot":
        return locate(tid, abi.AT_FDCWD, read_string(tid, a[0]), follow=True).path != b"/"
    if name in ("open_tree", "open_tree_attr"):
        return bool(a[2] & abi.OPEN_TREE_CLONE)
    if name == "setns":
        kind = descriptor_path(tid, a[0] & 0xFFFFFFFF)
        return kind.startswith(b"mnt:") or (not kind.startswith(b"/") and bool(a[1] & abi.CLONE_NEWNS))
    if name != "mount":
        return True
    if a[3] & abi.MS_IN_PLACE:
        return False
    there = locate(tid, abi.AT_FDCWD, read_string(tid, a[1]), follow=True)
    is_above = run.prefix.startswith(there.path.rstrip(b"/") + b"/")
    kind = read_string(tid, a[2]) if a[2] else b""
    is_alias = a[3] & (abi.MS_BIND | abi.MS_MOVE) != 0 or kind not in _HARMLESS
    return is_alias or is_above or run.relative(there) is not None


CALLS: dict[str, Decode] = dict.fromkeys(
    ("chroot", "pivot_root", "mount", "move_mount", "open_tree", "open_tree_attr", "fsmount", "setns"), _view
)
