"""Calls that make, move or remove names.

Sources: mkdir(2), mknod(2), bind(2), unlink(2), rmdir(2), rename(2), link(2), symlink(2).
"""

from __future__ import annotations

import os
import stat
import sys

from outlive_harness import abi
from outlive_harness.intercept.listener import Arguments
from outlive_harness.intercept.lookup import Found
from outlive_harness.intercept.memory import read_memory, read_string
from outlive_harness.results.ops import Detail, Op

from .context import Context, Decode


def _make(run: Context, name: str, tid: int, a: Arguments) -> Op | None:
    at = name.endswith("at")
    dirfd, address, mode = a[:3] if at else (abi.AT_FDCWD, a[0], a[1])
    found = run.find(tid, dirfd, read_string(tid, address))
    if found.inside is None:
        if not os.path.lexists(found.place.path):  # else it fails: mkdir -p asks for each directory above
            run.note_change(tid, found)
        return None
    kind = name.removesuffix("at")
    flags = stat.S_IFMT(mode & 0xFFFF) if kind == "mknod" else 0  # the type of the new file
    detail = run.detail_of_new(tid, found)
    return Op(kind, name, found.inside, tid=tid, flags=flags, mode=mode & 0o7777, detail=detail)


def _bind(run: Context, name: str, tid: int, a: Arguments) -> Op | None:
    address = read_memory(tid, a[1], min(a[2] & 0xFFFFFFFF, abi.SOCKADDR_UN))
    raw = address[2:].partition(b"\0")[0]
    if int.from_bytes(address[:2], sys.byteorder) != abi.AF_UNIX or not raw:
        return None  # another family, or an abstract name
    found = run.by_path(tid, abi.AT_FDCWD, raw)
    if found.inside is None:
        return None
    detail = run.detail_of_new(tid, found)
    return Op("mknod", name, found.inside, tid=tid, flags=stat.S_IFSOCK, mode=0o777, detail=detail)


def _remove(run: Context, name: str, tid: int, a: Arguments) -> Op | None:
    if name == "unlinkat":
        found = run.by_address(tid, a[0], a[1])
        kind = "rmdir" if a[2] & abi.AT_REMOVEDIR else "unlink"
    else:
        found, kind = run.by_address(tid, abi.AT_FDCWD, a[0]), name
    if found.inside is None:
        return None
    return Op(kind, name, found.inside, tid=tid, detail=run.detail(found))


def _rename(run: Context, name: str, tid: int, a: Arguments) -> Op | None:
    if name == "rename":
        a = (abi.AT_FDCWD, a[0], abi.AT_FDCWD, a[1], 0, 0)
    flags = a[4] if name == "renameat2" else 0
    source = run.find(tid, a[0], read_string(tid, a[1]))
    target = run.find(tid, a[2], read_string(tid, a[3]))
    # The kernel compares the mounts before it looks the last names up (fs/namei.c).
    if source.place.path and target.place.path and run.crosses(source, target):
        run.refuse_crossing("rename", tid, source, target)
        return None
    return _pair(run, "rename", name, tid, (source, target), flags)


def _link(run: Context, name: str, tid: int, a: Arguments) -> Op | None:
    if name == "link":
        a = (abi.AT_FDCWD, a[0], abi.AT_FDCWD, a[1], 0, 0)
    source = run.find(
        tid,
        a[0],
        read_string(tid, a[1]),
        follow=bool(a[4] & abi.AT_SYMLINK_FOLLOW),
        empty=bool(a[4] & abi.AT_EMPTY_PATH),
    )
    target = run.find(tid, a[2], read_string(tid, a[3]))
    # Here the kernel looks both names up first: ENOENT and EEXIST come before EXDEV.
    if run.crosses(source, target) and source.place.look() and target.place.path:
        if target.place.look() is None:
            run.refuse_crossing("link", tid, source, target)
        return None
    return _pair(run, "link", name, tid, (source, target), a[4])


def _pair(run: Context, kind: str, name: str, tid: int, files: tuple[Found, Found], flags: int) -> Op | None:
    """Return the op of a call with two paths; files outside the box are noted."""
    source, target = files
    if source.inside is None or target.inside is None:
        # With only one name in the box the call fails: the directory of the other does not exist.
        if source.inside is None and target.inside is None:
            run.note_change(tid, source)
            run.note_change(tid, target)
        return None
    detail = Detail(source.place.look(), target.place.look()) if run.wants_data else None
    return Op(kind, name, source.inside, target.inside, tid, flags=flags, detail=detail)


def _symlink(run: Context, name: str, tid: int, a: Arguments) -> Op | None:
    dirfd, address = (a[1], a[2]) if name == "symlinkat" else (abi.AT_FDCWD, a[1])
    found = run.by_address(tid, dirfd, address)
    if found.inside is None:
        return None
    target = os.fsdecode(read_string(tid, a[0]))
    return Op("symlink", name, found.inside, target, tid, detail=run.detail(found))


CALLS: dict[str, Decode] = {
    **dict.fromkeys(("mkdir", "mkdirat", "mknod", "mknodat"), _make),
    "bind": _bind,
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), _remove),
    **dict.fromkeys(("rename", "renameat", "renameat2"), _rename),
    **dict.fromkeys(("link", "linkat"), _link),
    **dict.fromkeys(("symlink", "symlinkat"), _symlink),
}
