"""Calls that make earlier ops durable: fsync(2), sync(2), sync_file_range(2)."""

from __future__ import annotations

import errno
import os

from outlive_harness.intercept.listener import Arguments
from outlive_harness.intercept.task import behind, descriptor_info
from outlive_harness.results.ops import Detail, Op

from .context import Context, Decode


def _sync_all(_run: Context, name: str, tid: int, _a: Arguments) -> Op:
    return Op(name, name, "", tid=tid)


def _sync(run: Context, name: str, tid: int, a: Arguments) -> Op | None:
    inside = run.name_by_fd(tid, a[0])
    if inside is None:
        return None
    if not run.wants_data:
        return Op(name, name, inside, "", tid, flags=0 if run.is_open(tid, a[0]) else os.O_PATH)
    fd = a[0] & 0xFFFFFFFF
    opened = descriptor_info(tid, fd)[1]
    # A descriptor with O_PATH only names a file: nothing can be done to the file by it (open(2)).
    fails = errno.EBADF if opened & os.O_PATH else 0
    start, length, how = a[1:4] if name == "sync_file_range" else (0, 0, 0)
    detail = Detail(behind(tid, fd).look(), opened=opened, how=how, fails=fails)
    return Op(name, name, inside, "", tid, start, length, opened & os.O_PATH, detail=detail)


CALLS: dict[str, Decode] = {
    **dict.fromkeys(("fsync", "fdatasync", "syncfs", "sync_file_range"), _sync),
    "sync": _sync_all,
}
