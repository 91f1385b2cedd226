"""Calls that change a file's mode, owner, times or extended attributes.

Sources: chmod(2), chown(2), utimensat(2), setxattr(2), removexattr(2), acl(5).
"""

from __future__ import annotations

import errno
import os
import struct

from outlive_harness import abi
from outlive_harness.intercept.listener import Arguments
from outlive_harness.intercept.lookup import Found
from outlive_harness.intercept.memory import read_memory, read_string
from outlive_harness.results.ops import NOW, OMIT, Detail, Op

from .context import Context, Decode

#: An access control list of three entries: a version, then tag, bits and id of each entry.
_MINIMAL = struct.Struct("<I HHI HHI HHI")
_MINIMAL_TAGS = (abi.ACL_USER_OBJ, abi.ACL_GROUP_OBJ, abi.ACL_OTHER)
#: Bits of a mode that no access control list holds: set-user-id, set-group-id, sticky.
_SPECIAL = 0o7000
#: Bytes of the longest extended attribute (XATTR_SIZE_MAX).
_LONGEST = 1 << 16


def _change(run: Context, name: str, tid: int, a: Arguments) -> Op | None:
    kind = "chmod" if "chmod" in name else "chown" if "chown" in name else "utime"
    at = name.endswith(("at", "at2"))
    if name in ("fchmod", "fchown") or (at and not a[1]):  # a null path means the descriptor itself
        found = run.by_fd(tid, a[0])
    elif at:
        flags = a[4] if kind == "chown" else a[3] if name in ("utimensat", "fchmodat2") else 0
        found = _at(run, tid, a, flags)
    else:
        found = run.by_address(tid, abi.AT_FDCWD, a[0], follow=name != "lchown")
    if found.inside is None:
        return None
    first = 2 if at else 1
    mode = a[first] & 0o7777 if kind == "chmod" else 0
    detail = None
    if run.wants_data:
        owner = (_id(a[first]), _id(a[first + 1])) if kind == "chown" else (-1, -1)
        times = _times(name, tid, a[first]) if kind == "utime" else None
        detail = Detail(found.place.look(), owner=owner, times=times)
    return Op(kind, name, found.inside, tid=tid, mode=mode, detail=detail)


def _at(run: Context, tid: int, a: Arguments, flags: int) -> Found:
    """Find the file of a call that takes a directory, a path and flags."""
    follow, empty = not flags & abi.AT_SYMLINK_NOFOLLOW, bool(flags & abi.AT_EMPTY_PATH)
    return run.by_address(tid, a[0], a[1], follow=follow, empty=empty)


def _xattr(run: Context, name: str, tid: int, a: Arguments) -> Op | None:
    at = name.endswith("at")
    if name.startswith("f"):
        found = run.by_fd(tid, a[0])
    elif at:
        found = _at(run, tid, a, a[2])
    else:
        found = run.by_address(tid, abi.AT_FDCWD, a[0], follow=not name.startswith("l"))
    kind = "removexattr" if "remove" in name else "setxattr"
    if found.inside is None:
        return None
    label, value, flags, fails = "", b"", 0, 0
    try:
        label = os.fsdecode(read_string(tid, a[3] if at else a[1]))
        if kind == "setxattr":
            address, size, flags = a[2], a[3], a[4]
            if at:
                address, size, flags = struct.unpack("=QII", read_memory(tid, a[4], 16))
            value = read_memory(tid, address, min(size, _LONGEST))
    except (OSError, struct.error):
        fails = errno.EFAULT
    mode = _minimal_mode(value) if label == abi.ACL_ACCESS else -1
    seen = found.place.look() if run.wants_data or mode >= 0 else None
    if mode >= 0 and seen is not None:
        kind, mode = "chmod", mode | (seen.mode & _SPECIAL)
    flags &= abi.XATTR_CREATE | abi.XATTR_REPLACE
    op = Op(kind, name, found.inside, tid=tid, flags=flags, mode=max(mode, 0))
    if run.wants_data:
        op.data, op.detail = value, Detail(seen, name=label, fails=fails)
    return op


def _minimal_mode(value: bytes) -> int:
    """Return the permission bits that a minimal access control list stands for; -1 if it holds more.

    A list of only owner, group and others is a mode by another name (posix_acl_equiv_mode()): GNU's cp -p,
    cp -a, install and sed -i set modes this way.
    """
    if len(value) != _MINIMAL.size:
        return -1
    version, *entries = _MINIMAL.unpack(value)
    tags, bits = tuple(entries[::3]), entries[1::3]
    if version != abi.ACL_VERSION or tags != _MINIMAL_TAGS or any(one > 7 for one in bits):
        return -1
    return int(bits[0] << 6 | bits[1] << 3 | bits[2])


def _id(register: int) -> int:
    """Return a user or group id; all bits set (-1) means: leave it."""
    number = register & 0xFFFFFFFF
    return -1 if number == 0xFFFFFFFF else number


def _times(name: str, tid: int, pointer: int) -> tuple[int, int] | None:
    """Return the times that a call of the utime family sets, in ns; None if the call fails."""
    if not pointer:
        return NOW, NOW
    try:
        words = read_memory(tid, pointer, 16 if name == "utime" else 32)
        first, first_part, second, second_part = struct.unpack("=qqqq", words.ljust(32, b"\0"))
    except (OSError, struct.error):
        return None
    if name == "utime":
        return first * 10**9, first_part * 10**9
    if name != "utimensat":
        return first * 10**9 + first_part * 1000, second * 10**9 + second_part * 1000

    def time(seconds: int, part: int) -> int:
        return {abi.UTIME_NOW: NOW, abi.UTIME_OMIT: OMIT}.get(part, seconds * 10**9 + part)

    return time(first, first_part), time(second, second_part)


CALLS: dict[str, Decode] = {
    **dict.fromkeys(
        ("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"), _change
    ),
    **dict.fromkeys(("utime", "utimes", "futimesat", "utimensat"), _change),
    **dict.fromkeys(("setxattr", "lsetxattr", "fsetxattr", "setxattrat"), _xattr),
    **dict.fromkeys(("removexattr", "lremovexattr", "fremovexattr", "removexattrat"), _xattr),
}
